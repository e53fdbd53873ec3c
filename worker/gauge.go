package worker

import "sync"

// gauge counts running things, and reports when none is left.
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

// none returns a channel that is closed when the count is, or next becomes, 0.
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
