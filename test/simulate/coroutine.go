package simulate

import (
	"context"
	"errors"
	"iter"
	"time"
)

// coroutine runs sequential code of a party. It pauses whenever that code waits.
// Exactly one coroutine runs at a time.
type coroutine struct {
	p      *party
	resume func()
	stop   func()
	yield  func(struct{}) bool
	over   bool
}

// errKilled unwinds the code of a party that has died.
var errKilled = errors.New("killed")

// spawn runs f until it first waits.
func (p *party) spawn(f func(*coroutine)) *coroutine {
	c := &coroutine{p: p}
	next, stop := iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			c.over = true
			if r := recover(); r != nil && r != any(errKilled) {
				panic(r)
			}
		}()
		c.yield = yield
		f(c)
	})
	c.resume = func() {
		before := p.w.current
		p.w.current = c
		next()
		p.w.current = before
	}
	c.stop = func() {
		if !c.over {
			stop()
		}
	}
	c.resume()
	return c
}

// wait pauses the coroutine until on receives, d has passed (0: no limit), or the
// scope ends. It reports whether on received.
func (c *coroutine) wait(s *scope, on <-chan struct{}, d time.Duration) (got bool) {
	t := &wait{c: c, on: on, scope: s}
	if t.ready() {
		return t.got
	}
	if d > 0 {
		c.p.after(d, "continues", func() { t.fired = true })
	}
	c.park(t)
	return t.got
}

func (c *coroutine) park(t *wait) {
	c.p.waits = append(c.p.waits, t)
	if !c.yield(struct{}{}) {
		panic(errKilled)
	}
}

// scope is a context in a party's time.
type scope struct {
	p        *party
	parent   *scope
	err      error
	deadline time.Time // on the party's clock; zero = none
}

var _ context.Context = (*scope)(nil)

// Deadline is as in context.Context.
func (s *scope) Deadline() (time.Time, bool) { return s.deadline, !s.deadline.IsZero() }

// Done is nil, because code of the simulation waits through its clock only.
func (s *scope) Done() <-chan struct{} { return nil }

// Value is nil.
func (s *scope) Value(any) any { return nil }

// Err is as in context.Context.
func (s *scope) Err() error {
	switch {
	case s.err != nil:
		return s.err
	case !s.deadline.IsZero() && !s.p.now().Before(s.deadline):
		return context.DeadlineExceeded
	case s.parent != nil:
		return s.parent.Err()
	}
	return nil
}

func (s *scope) cancel() {
	if s.err == nil {
		s.err = context.Canceled
	}
}

// within returns the scope behind a context of the simulation.
func within(ctx context.Context) *scope { return ctx.(*scope) }

// clock is the clock for the coroutines of a party. Its caller is the world's
// current coroutine.
type clock struct{ p *party }

func (k clock) Now() time.Time { return k.p.now() }

func (k clock) Pause(ctx context.Context, d time.Duration) error {
	s := within(ctx)
	k.p.w.current.wait(s, nil, d)
	return s.Err()
}

func (k clock) Await(ctx context.Context, c <-chan struct{}) error {
	s := within(ctx)
	if k.p.w.current.wait(s, c, 0) {
		return nil
	}
	return s.Err()
}

func (k clock) Within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	s := &scope{p: k.p, parent: within(ctx), deadline: k.p.now().Add(d)}
	return s, s.cancel
}
