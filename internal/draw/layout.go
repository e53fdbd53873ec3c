package draw

import "slices"

// A layered layout, for pictures of pipelines: boxes are in layers from left
// to right, every link goes from a layer to a later one, and no two boxes
// overlap. It is a function of its arguments: the same graph gives the same
// picture. The steps are those of Sugiyama: layers by longest path, order
// within a layer by medians, places by least squares.

// layoutSize is how large a box must be.
type layoutSize struct{ w, h int }

// layoutLink is an edge between boxes; no edge closes a cycle.
type layoutLink struct {
	from, to int
	optional bool
}

// layoutBox is a box in its place; all of a layer are equally wide.
type layoutBox struct{ layer, x, y, w, h int }

// layoutSegment is a piece of one or more links, between neighbouring layers.
// Where it does not end at a box it goes straight on through its layer.
type layoutSegment struct {
	x1, y1, x2, y2 int
	through        int // x up to which it goes on; 0 = it ends at a box
	optional       bool
}

// layout is a graph in its place.
type layout struct {
	boxes         []layoutBox
	layers        int
	segments      []layoutSegment
	routes        map[layoutLink][]int // a link → its segments
	width, height int
}

const (
	layoutGapLeast = 44 // between layers
	layoutGapMost  = 180
	layoutBoxGap   = 14 // between boxes of a layer
	layoutLineGap  = 9  // between a line and its neighbour
	// layoutMostBends bounds the places that are kept free for links that pass
	// a layer; above it, long links are drawn straight behind the boxes.
	layoutMostBends = 8_000
)

// layOut places boxes. links must not close a cycle.
func layOut(sizes []layoutSize, links []layoutLink) *layout {
	links = withoutTwins(links)
	layer := layersOf(len(sizes), links)
	g := newLayoutGrid(sizes, links, layer)
	g.order()
	g.place()
	return g.finish(links)
}

// withoutTwins merges links between the same boxes: a required one wins.
func withoutTwins(links []layoutLink) []layoutLink {
	at := map[[2]int]int{}
	var single []layoutLink
	for _, l := range links {
		i, twice := at[[2]int{l.from, l.to}]
		if twice {
			single[i].optional = single[i].optional && l.optional
			continue
		}
		at[[2]int{l.from, l.to}] = len(single)
		single = append(single, l)
	}
	return single
}

// layersOf gives every box the length of the longest path to it. A box of
// which more depends than it needs then moves right, towards that: its links
// are shorter so.
func layersOf(n int, links []layoutLink) []int {
	after, before := make([][]int, n), make([]int, n)
	for _, l := range links {
		after[l.from] = append(after[l.from], l.to)
		before[l.to]++
	}
	waits := append([]int(nil), before...)
	layer := make([]int, n)
	var sorted []int
	for i := range n {
		if waits[i] == 0 {
			sorted = append(sorted, i)
		}
	}
	for next := 0; next < len(sorted); next++ {
		i := sorted[next]
		for _, j := range after[i] {
			layer[j] = max(layer[j], layer[i]+1)
			if waits[j]--; waits[j] == 0 {
				sorted = append(sorted, j)
			}
		}
	}
	for _, i := range slices.Backward(sorted) {
		if len(after[i]) <= before[i] {
			continue
		}
		nearest := layer[after[i][0]]
		for _, j := range after[i] {
			nearest = min(nearest, layer[j])
		}
		layer[i] = nearest - 1
	}
	return layer
}

// layoutCell is a box, or a bend: the place of a link in a layer that it passes.
type layoutCell struct {
	box      int // -1 = a bend
	layer, h int
	y        int // of its top, in the end
	centre   float64
	up, down []int // cells in the layers before and after
}

// layoutGrid is what the steps of a layout work on.
type layoutGrid struct {
	sizes  []layoutSize
	cells  []layoutCell
	rows   [][]int // by layer, cells from top to bottom
	chains map[layoutStart][]int
	direct bool // long links have no bends
}

// layoutStart is where links begin that share their bends.
type layoutStart struct {
	box      int
	optional bool
}

func newLayoutGrid(sizes []layoutSize, links []layoutLink, layer []int) *layoutGrid {
	g := &layoutGrid{sizes: sizes, chains: map[layoutStart][]int{}}
	layers := 0
	for i, s := range sizes {
		layers = max(layers, layer[i]+1)
		g.cells = append(g.cells, layoutCell{box: i, layer: layer[i], h: s.h})
	}
	longest, bends := map[layoutStart]int{}, 0
	for _, l := range links {
		start, n := layoutStart{l.from, l.optional}, layer[l.to]-layer[l.from]-1
		bends += max(0, n-longest[start])
		longest[start] = max(longest[start], n)
	}
	g.direct = bends > layoutMostBends
	g.rows = make([][]int, layers)
	for i := range sizes {
		g.rows[layer[i]] = append(g.rows[layer[i]], i)
	}
	joined := map[[2]int]bool{}
	for _, l := range links {
		g.thread(l, joined)
	}
	return g
}

// thread leads a link through the layers between its ends.
func (g *layoutGrid) thread(l layoutLink, joined map[[2]int]bool) {
	span := g.cells[l.to].layer - g.cells[l.from].layer
	if g.direct && span > 1 {
		return
	}
	start := layoutStart{l.from, l.optional}
	for n := len(g.chains[start]); n < span-1; n++ {
		c := layoutCell{box: -1, layer: g.cells[l.from].layer + 1 + n, h: 1}
		g.chains[start] = append(g.chains[start], len(g.cells))
		g.rows[c.layer] = append(g.rows[c.layer], len(g.cells))
		g.cells = append(g.cells, c)
	}
	path := g.path(l)
	for i := 1; i < len(path); i++ {
		if pair := [2]int{path[i-1], path[i]}; !joined[pair] {
			joined[pair] = true
			g.cells[pair[0]].down = append(g.cells[pair[0]].down, pair[1])
			g.cells[pair[1]].up = append(g.cells[pair[1]].up, pair[0])
		}
	}
}

// path are the cells that a link visits, its ends included.
func (g *layoutGrid) path(l layoutLink) []int {
	path := []int{l.from}
	span := g.cells[l.to].layer - g.cells[l.from].layer
	if !g.direct && span > 1 {
		path = append(path, g.chains[layoutStart{l.from, l.optional}][:span-1]...)
	}
	return append(path, l.to)
}

// finish gives the layers their places and draws the links.
func (g *layoutGrid) finish(links []layoutLink) *layout {
	l := &layout{boxes: make([]layoutBox, len(g.sizes)), layers: len(g.rows), routes: map[layoutLink][]int{}}
	left, wide := g.columns()
	for i, c := range g.cells {
		if c.box < 0 {
			continue
		}
		l.boxes[i] = layoutBox{layer: c.layer, x: left[c.layer], y: c.y, w: wide[c.layer], h: c.h}
		l.width, l.height = max(l.width, left[c.layer]+wide[c.layer]), max(l.height, c.y+c.h)
	}
	drawn := map[[2]int]int{}
	for _, link := range links {
		path := g.path(link)
		for i := 1; i < len(path); i++ {
			a, b := &g.cells[path[i-1]], &g.cells[path[i]]
			n, ok := drawn[[2]int{path[i-1], path[i]}]
			if !ok {
				s := layoutSegment{
					x1: left[a.layer] + wide[a.layer], y1: a.y + a.h/2, x2: left[b.layer], y2: b.y + b.h/2, optional: link.optional,
				}
				if b.box < 0 {
					s.through = left[b.layer] + wide[b.layer]
				}
				n = len(l.segments)
				drawn[[2]int{path[i-1], path[i]}] = n
				l.segments = append(l.segments, s)
				l.height = max(l.height, s.y1+1, s.y2+1)
			}
			l.routes[link] = append(l.routes[link], n)
		}
	}
	return l
}

// columns are the places and widths of the layers. The farther apart what is
// linked between two layers, the more room there is between them.
func (g *layoutGrid) columns() (left, wide []int) {
	left, wide = make([]int, len(g.rows)), make([]int, len(g.rows))
	x := 0
	for n, row := range g.rows {
		steepest := 0
		for _, i := range row {
			c := &g.cells[i]
			if c.box >= 0 {
				wide[n] = max(wide[n], g.sizes[c.box].w)
			}
			for _, j := range c.down {
				d := &g.cells[j]
				steepest = max(steepest, d.y+d.h/2-c.y-c.h/2, c.y+c.h/2-d.y-d.h/2)
			}
		}
		left[n] = x
		x += wide[n] + min(layoutGapLeast+steepest/8, layoutGapMost)
	}
	return left, wide
}
