package draw

import (
	"cmp"
	"slices"
)

// layoutSweeps bounds the rounds of ordering, and layoutWork what they may
// try altogether: a large graph gets fewer.
const (
	layoutSweeps = 16
	layoutWork   = 3_000_000
)

// order puts the cells of every layer into an order in which few links cross:
// each goes to the median of its neighbours in the layer before, then in the
// layer after, and so on; the best of what was seen counts.
func (g *layoutGrid) order() {
	at := make([]int, len(g.cells))
	for _, row := range g.rows {
		number(row, at)
	}
	ends := 0
	for i := range g.cells {
		ends += len(g.cells[i].down)
	}
	best, least := g.copyRows(), g.crossings(at)
	for n := 0; n < layoutSweeps && least > 0 && n*(ends+len(g.cells)) < layoutWork; n++ {
		g.sweep(n%2 == 0, at)
		if c := g.crossings(at); c < least {
			best, least = g.copyRows(), c
		}
	}
	g.rows = best
}

func number(row, at []int) {
	for n, i := range row {
		at[i] = n
	}
}

func (g *layoutGrid) copyRows() [][]int {
	rows := make([][]int, len(g.rows))
	for n, row := range g.rows {
		rows[n] = slices.Clone(row)
	}
	return rows
}

// sweep orders all layers, from the left or from the right.
func (g *layoutGrid) sweep(rightwards bool, at []int) {
	wish := make([]float64, len(g.cells))
	for k := range g.rows {
		row := g.rows[k]
		if !rightwards {
			row = g.rows[len(g.rows)-1-k]
		}
		for _, i := range row {
			near := g.cells[i].up
			if !rightwards {
				near = g.cells[i].down
			}
			wish[i] = float64(at[i])
			if len(near) > 0 {
				wish[i] = medianPlace(near, at)
			}
		}
		slices.SortStableFunc(row, func(a, b int) int { return cmp.Compare(wish[a], wish[b]) })
		number(row, at)
	}
}

// medianPlace is the median place of cells; of an even number the mean of all,
// which distinguishes cells with equal medians.
func medianPlace(cells, at []int) float64 {
	places := make([]int, len(cells))
	sum := 0
	for n, i := range cells {
		places[n] = at[i]
		sum += at[i]
	}
	if len(places)%2 == 0 {
		return float64(sum) / float64(len(places))
	}
	slices.Sort(places)
	return float64(places[len(places)/2])
}

// crossings counts how often links between neighbouring layers cross.
func (g *layoutGrid) crossings(at []int) int {
	total := 0
	for n := 0; n+1 < len(g.rows); n++ {
		var ends []int
		for _, i := range g.rows[n] {
			from := len(ends)
			for _, j := range g.cells[i].down {
				ends = append(ends, at[j])
			}
			slices.Sort(ends[from:])
		}
		total += inversions(ends, len(g.rows[n+1]))
	}
	return total
}

// inversions counts the pairs that are in the wrong order, of numbers below most.
func inversions(list []int, most int) int {
	tree := make([]int, most+1) // of Fenwick: how many numbers have been seen up to each
	total := 0
	for seen, v := range list {
		notAbove := 0
		for i := v + 1; i > 0; i -= i & -i {
			notAbove += tree[i]
		}
		total += seen - notAbove
		for i := v + 1; i <= most; i += i & -i {
			tree[i]++
		}
	}
	return total
}
