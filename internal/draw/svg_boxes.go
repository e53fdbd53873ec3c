package draw

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// How many boxes a picture may have before modules share some.
const (
	listedMembers = 8   // a family of more is one box with a count
	twinsAbove    = 120 // then modules with the same needs and the same dependents share a box
	stemsAbove    = 160 // then those of a wave whose names differ in a number
	wavesAbove    = 400 // then all of a wave
)

// graphBox is a box in a picture: a module, or several that share it.
type graphBox struct {
	title   string
	members []int // modules
	listed  bool  // each has a line in it
	alone   bool  // it is a module, not a group
}

// boxed is a picture whose modules are in boxes.
type boxed struct {
	boxes []graphBox
	links []layoutLink
	note  string // how modules were put together; "" = by their families only
}

// inBoxes puts modules into boxes, into fewer the more there are.
func (p *picture) inBoxes() *boxed {
	b := p.group(func(i int) string { return p.modules[i].family })
	if !acyclic(len(b.boxes), b.links) { // a family needs itself through others
		b = p.group(func(int) string { return "" })
	}
	if len(b.boxes) > twinsAbove {
		b = p.twins(b)
		b.note = "modules with the same needs and the same dependents share a box"
	}
	if len(b.boxes) > stemsAbove {
		b = p.group(func(i int) string { return p.stemAndWave(i) })
		b.note = "modules of one wave whose names differ in a number share a box"
	}
	if len(b.boxes) > wavesAbove {
		b = p.group(func(i int) string { return fmt.Sprintf("wave %d", p.modules[i].wave) })
		b.note = "all modules of a wave share a box"
	}
	return b
}

// group puts modules of one key into one box; "" = alone.
func (p *picture) group(key func(int) string) *boxed {
	b := &boxed{}
	at, of := map[string]int{}, make([]int, len(p.modules))
	for i := range p.modules {
		k := key(i)
		n, known := at[k]
		if k == "" || !known {
			n = len(b.boxes)
			at[k] = n
			b.boxes = append(b.boxes, graphBox{title: cmp.Or(shownKey(k), p.modules[i].name)})
		}
		of[i] = n
		b.boxes[n].members = append(b.boxes[n].members, i)
	}
	for n := range b.boxes {
		p.dress(&b.boxes[n])
	}
	b.links = p.between(of)
	return b
}

// dress decides what a box shows of its members.
func (p *picture) dress(x *graphBox) {
	first := &p.modules[x.members[0]]
	if len(x.members) == 1 {
		x.title, x.alone = first.name, true
		if first.family != "" && slices.Contains(first.marks, markDynamic) {
			x.title = first.family + " (…)"
		}
		return
	}
	x.listed = first.family != "" && len(x.members) <= listedMembers
}

// keySeparator separates the unique part of a key from the part that is shown.
const keySeparator = "\x00"

func shownKey(key string) string {
	shown, _, _ := strings.Cut(key, keySeparator)
	return shown
}

var namesNumber = regexp.MustCompile(`[ _.#-]*(ID)?[0-9]+$`)

// stem is a module's family, or its name without a number at the end.
func (p *picture) stem(i int) string {
	m := &p.modules[i]
	return cmp.Or(m.family, namesNumber.ReplaceAllString(m.name, ""), m.name)
}

func (p *picture) stemAndWave(i int) string {
	return p.stem(i) + keySeparator + strconv.Itoa(p.modules[i].wave)
}

// twins puts boxes together that hold one module each, of one stem, with the
// same needs and the same dependents.
func (p *picture) twins(b *boxed) *boxed {
	needs, dependents := make([][]int, len(b.boxes)), make([][]int, len(b.boxes))
	for _, l := range b.links {
		end := l.from * 2
		if l.optional {
			end++
		}
		needs[l.to] = append(needs[l.to], end)
		dependents[l.from] = append(dependents[l.from], l.to)
	}
	keys := make([]string, len(p.modules))
	for n, x := range b.boxes {
		key := x.title + keySeparator + strconv.Itoa(n)
		if x.alone {
			slices.Sort(needs[n])
			slices.Sort(dependents[n])
			key = fmt.Sprint(p.stem(x.members[0]), keySeparator, needs[n], dependents[n])
		}
		for _, i := range x.members {
			keys[i] = key
		}
	}
	return p.group(func(i int) string { return keys[i] })
}

// between are the links between boxes; of is the box of a module.
func (p *picture) between(of []int) []layoutLink {
	var links []layoutLink
	for _, l := range p.links {
		links = append(links, layoutLink{of[l.from], of[l.to], l.optional})
	}
	return withoutTwins(links)
}

// criticalLinks are the links between boxes that are on the critical path.
func (p *picture) criticalLinks(b *boxed) map[[2]int]bool {
	of := make([]int, len(p.modules))
	for n, x := range b.boxes {
		for _, i := range x.members {
			of[i] = n
		}
	}
	on := map[[2]int]bool{}
	for n := 1; n < len(p.critical); n++ {
		on[[2]int{of[p.critical[n-1]], of[p.critical[n]]}] = true
	}
	return on
}

// acyclic reports whether links close no cycle; one from a box to itself does.
func acyclic(n int, links []layoutLink) bool {
	after, waits := make([][]int, n), make([]int, n)
	for _, l := range links {
		after[l.from] = append(after[l.from], l.to)
		waits[l.to]++
	}
	var ready []int
	for i := range n {
		if waits[i] == 0 {
			ready = append(ready, i)
		}
	}
	for next := 0; next < len(ready); next++ {
		for _, j := range after[ready[next]] {
			if waits[j]--; waits[j] == 0 {
				ready = append(ready, j)
			}
		}
	}
	return len(ready) == n
}
