package worker

import "sync"

// gauge counts what is under way, and reports when nothing is.
type gauge struct {
	mu   sync.Mutex
	n    int
	zero chan struct{} // not nil while a goroutine waits
}

func (g *gauge) add(d int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n += d
	if g.n == 0 && g.zero != nil {
		close(g.zero)
		g.zero = nil
	}
}

// none is closed when the count is, or next becomes, 0.
func (g *gauge) none() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n == 0 {
		c := make(chan struct{})
		close(c)
		return c
	}
	if g.zero == nil {
		g.zero = make(chan struct{})
	}
	return g.zero
}
