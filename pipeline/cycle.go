package pipeline

import "slices"

// arrows are a graph: for each node those that it waits for.
type arrows [][]int

// cycles gives one cycle for each knot of nodes that wait for each other: the
// shortest one through the knot's first node, which it begins and ends with.
// Knots come in the order of their first nodes.
func (g arrows) cycles() [][]int {
	knots := g.knots()
	size := map[int]int{}
	for _, k := range knots {
		size[k]++
	}
	var found [][]int
	said := map[int]bool{}
	for i, k := range knots {
		if said[k] || size[k] == 1 && !slices.Contains(g[i], i) {
			continue
		}
		said[k] = true
		found = append(found, g.shortest(i, knots))
	}
	return found
}

// shortest leads from a node back to it, within its knot.
func (g arrows) shortest(start int, knots []int) []int {
	via := map[int]int{}
	queue := []int{start}
	for len(queue) > 0 {
		i := queue[0]
		queue = queue[1:]
		for _, j := range g[i] {
			if j == start {
				return trail(via, start, i)
			}
			if _, seen := via[j]; !seen && knots[j] == knots[start] {
				via[j] = i
				queue = append(queue, j)
			}
		}
	}
	return nil
}

func trail(via map[int]int, start, end int) []int {
	path := []int{start}
	for at := end; at != start; at = via[at] {
		path = append(path, at)
	}
	path = append(path, start)
	slices.Reverse(path)
	return path
}

// knots numbers the strongly connected components, by Tarjan's method: each
// node and each arrow is visited once. It keeps its own stack, because
// a chain may be as long as the file.
func (g arrows) knots() []int {
	s := search{g: g, number: make([]int, len(g)), low: make([]int, len(g)), next: make([]int, len(g)), knot: make([]int, len(g))}
	for i := range g {
		if s.number[i] == 0 {
			s.from(i)
		}
	}
	return s.knot
}

// search is Tarjan's search on its way. Numbers and knots count from 1; 0 is
// not reached, or not known yet.
type search struct {
	g                       arrows
	number, low, next, knot []int
	reached, found          int
	path, open              []int // nodes on the way here, and those whose knot is not complete
}

func (s *search) from(start int) {
	s.enter(start)
	for len(s.path) > 0 {
		i := s.path[len(s.path)-1]
		if s.next[i] < len(s.g[i]) {
			j := s.g[i][s.next[i]]
			s.next[i]++
			switch {
			case s.number[j] == 0:
				s.enter(j)
			case s.knot[j] == 0:
				s.low[i] = min(s.low[i], s.number[j])
			}
			continue
		}
		s.leave(i)
	}
}

func (s *search) enter(i int) {
	s.reached++
	s.number[i], s.low[i] = s.reached, s.reached
	s.path, s.open = append(s.path, i), append(s.open, i)
}

func (s *search) leave(i int) {
	s.path = s.path[:len(s.path)-1]
	if len(s.path) > 0 {
		before := s.path[len(s.path)-1]
		s.low[before] = min(s.low[before], s.low[i])
	}
	if s.low[i] != s.number[i] {
		return
	}
	s.found++
	for s.knot[i] == 0 {
		s.knot[s.open[len(s.open)-1]] = s.found
		s.open = s.open[:len(s.open)-1]
	}
}
