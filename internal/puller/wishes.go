package puller

import (
	"context"
	"maps"

	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/jobs"
)

// Serve adds a lane (idempotent), whose jobs take this many slots each, or all
// slots if there are fewer.
func (p *Puller) Serve(lane jobs.Lane, slots int) {
	p.ask(func() {
		p.serve[lane] = min(max(slots, 1), p.slots)
		p.changed = true
	})
}

// Unserve removes a lane.
func (p *Puller) Unserve(lane jobs.Lane) {
	p.ask(func() {
		delete(p.serve, lane)
		p.changed = true
	})
}

// Release gives slots back.
func (p *Puller) Release(slots int) { p.ask(func() { p.freed += slots }) }

// Pause stops pulling for good (drain). Jobs that were delivered are still
// handled. It blocks until no more deliveries can arrive, Run has returned, or ctx
// ends.
func (p *Puller) Pause(ctx context.Context) error {
	p.ask(func() { p.paused = true })
	select {
	case <-p.drained:
		return nil
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *Puller) ask(change func()) {
	p.mu.Lock()
	change()
	p.mu.Unlock()
	p.rouse()
}

func (p *Puller) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// takeWishes takes over the wishes of other goroutines.
func (p *Puller) takeWishes(ctx context.Context) {
	p.mu.Lock()
	freed, changed, paused, recreated := p.freed, p.changed, p.paused, p.recreated
	p.freed, p.changed, p.recreated = 0, false, false
	var serve map[jobs.Lane]int
	if changed {
		serve = maps.Clone(p.serve)
	}
	p.mu.Unlock()
	p.used = max(p.used-freed, 0)
	if recreated {
		p.onRecreated(ctx)
	}
	if changed {
		p.change(ctx, serve)
	}
	if paused && !p.stopping {
		p.stopping = true
	}
	if p.stopping && p.reserved == 0 && p.fetching == 0 {
		p.closeDrained()
	}
}

func (p *Puller) closeDrained() {
	select {
	case <-p.drained:
	default:
		close(p.drained)
	}
}

// change adds and removes lanes as wished.
func (p *Puller) change(ctx context.Context, serve map[jobs.Lane]int) {
	for name, slots := range serve {
		if l := p.lanes[name]; l != nil {
			l.slots = slots
			continue
		}
		l, err := p.open(name, slots)
		if err != nil {
			p.c.Logger().Error("cannot serve a lane", "url", p.c.URL(), "lane", name, "error", err)
			p.retryChange(ctx) // the connection is down
			continue
		}
		p.lanes[name] = l
		p.turn = append(p.turn, l)
	}
	kept := p.turn[:0]
	for _, l := range p.turn {
		if _, ok := serve[l.name]; ok {
			kept = append(kept, l)
			continue
		}
		p.close(l)
		delete(p.lanes, l.name)
	}
	clear(p.turn[len(kept):])
	p.turn = kept
}

// retryChange repeats change after a while.
func (p *Puller) retryChange(ctx context.Context) {
	p.work.Go(func() error {
		if pause.For(ctx, scanEvery) == nil {
			p.ask(func() { p.changed = true })
		}
		return nil
	})
}
