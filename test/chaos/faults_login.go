package main

import (
	"math/rand/v2"
	"syscall"
	"time"
)

// loginFault draws a time in which NATS refuses the programs' login, or gives it too few
// permissions, as during a change of its configuration.
func (w *world) loginFault(rng *rand.Rand) fault {
	l, what := login{password: "changed"}, "credentials refused"
	if rng.IntN(2) == 0 {
		l, what = login{password: password, narrow: true}, "permissions missing"
	}
	return fault{
		what: what, span: span(rng),
		act: func() { w.reload(l) },
		end: func() { w.reload(login{password: password}) },
	}
}

// reload makes all nodes read a configuration with another login.
func (w *world) reload(l login) {
	w.mu.Lock()
	w.denied = time.Now()
	w.mu.Unlock()
	for _, n := range w.nodes {
		if err := n.configure(l); err != nil {
			w.fail("configure NATS node %s: %v", n.name, err)
		}
		n.signal(syscall.SIGHUP)
	}
}

// refusedLately reports whether NATS has refused the programs' login within the time that
// a program needs to report it and end.
func (w *world) refusedLately() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.denied.IsZero() && time.Since(w.denied) < 30*time.Second
}
