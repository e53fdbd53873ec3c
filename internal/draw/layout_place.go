package draw

import "math"

// layoutRounds is the number of times that layers are aligned with their neighbours.
const layoutRounds = 8

// place gives every cell its height in the picture: as near to its neighbours
// as the order and the gaps allow.
func (g *layoutGrid) place() {
	for _, row := range g.rows {
		at := 0
		for n, i := range row {
			if n > 0 {
				at += g.distance(row[n-1], i)
			}
			g.cells[i].centre = float64(at)
		}
		for _, i := range row { // centred on the others
			g.cells[i].centre -= float64(at) / 2
		}
	}
	for round := range layoutRounds {
		for k := range g.rows {
			n := k
			if round%2 == 1 {
				n = len(g.rows) - 1 - k
			}
			g.align(g.rows[n], round)
		}
	}
	top := math.Inf(1)
	for i := range g.cells {
		top = min(top, g.cells[i].centre-float64(g.cells[i].h)/2)
	}
	for _, row := range g.rows {
		g.settle(row, top)
	}
}

// distance returns the least distance between the centres of neighbours.
func (g *layoutGrid) distance(above, below int) int {
	a, b := &g.cells[above], &g.cells[below]
	gap := layoutBoxGap
	if a.box < 0 || b.box < 0 {
		gap = layoutLineGap
	}
	return (a.h+1)/2 + (b.h+1)/2 + gap
}

// align moves a layer's cells towards the mean of their neighbours. It uses the
// neighbours on the left and on the right in turn, and both in the end.
func (g *layoutGrid) align(row []int, round int) {
	wish, weight := make([]float64, len(row)), make([]float64, len(row))
	for n, i := range row {
		c := &g.cells[i]
		near := [][]int{c.up, c.down}
		if round < layoutRounds-2 {
			near = near[round%2 : round%2+1]
		}
		wish[n], weight[n] = c.centre, 0.1
		sum, of := 0.0, 0.0
		for _, list := range near {
			for _, j := range list {
				w := g.pull(c, &g.cells[j])
				sum, of = sum+w*g.cells[j].centre, of+w
			}
		}
		if of > 0 {
			wish[n], weight[n] = sum/of, of
		}
	}
	g.spread(row, wish, weight)
}

// pull is the weight with which a link becomes straight. It grows with the length of the
// link.
func (g *layoutGrid) pull(a, b *layoutCell) float64 {
	switch {
	case a.box < 0 && b.box < 0:
		return 8
	case a.box < 0 || b.box < 0:
		return 2
	}
	return 1
}

// spread puts a layer's cells as near to their wanted places as the distances allow. It
// minimises the sum of squares by pooling adjacent violators.
func (g *layoutGrid) spread(row []int, wish, weight []float64) {
	type pool struct {
		mean, weight float64
		size         int
	}
	offset := make([]float64, len(row))
	var pools []pool
	for n := range row {
		if n > 0 {
			offset[n] = offset[n-1] + float64(g.distance(row[n-1], row[n]))
		}
		p := pool{wish[n] - offset[n], weight[n], 1}
		for len(pools) > 0 && pools[len(pools)-1].mean >= p.mean {
			last := pools[len(pools)-1]
			pools = pools[:len(pools)-1]
			w := last.weight + p.weight
			p = pool{(last.mean*last.weight + p.mean*p.weight) / w, w, last.size + p.size}
		}
		pools = append(pools, p)
	}
	n := 0
	for _, p := range pools {
		for range p.size {
			g.cells[row[n]].centre = p.mean + offset[n]
			n++
		}
	}
}

// settle rounds the places of a layer and keeps the distances between cells.
func (g *layoutGrid) settle(row []int, top float64) {
	least := math.MinInt
	for n, i := range row {
		c := &g.cells[i]
		if n > 0 {
			least = g.cells[row[n-1]].y + g.cells[row[n-1]].h/2 + g.distance(row[n-1], i)
		}
		centre := max(int(math.Round(c.centre-top)), least, c.h/2)
		c.y = centre - c.h/2
	}
}
