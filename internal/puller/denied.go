package puller

import (
	"context"
	"errors"
	"strings"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/jobs"
)

// openLater renews the subscriptions of a lane after a while: the server drops
// them when it withdraws the permission.
func (p *Puller) openLater(ctx context.Context, l *lane) {
	if l.opening {
		return
	}
	l.opening = true
	p.work.Go(func() error {
		if pause.For(ctx, reopenAfter) == nil {
			p.send(ctx, event{do: func() { p.reopen(l) }})
		}
		return nil
	})
}

func (p *Puller) reopen(l *lane) {
	l.opening = false
	if p.lanes[l.name] != l {
		return // the lane was removed
	}
	_ = l.bell.Unsubscribe() // fails only on a closed connection
	if err := p.listen(l); err != nil {
		p.c.Logger().Error("cannot serve a lane", "url", p.c.URL(), "lane", l.name, "error", err)
		return
	}
	p.abandon(l)
	l.silenced, l.want = false, true
}

// concerns selects the denials of requests for jobs, of their answers and of
// bells.
func (p *Puller) concerns(subject string, subscription bool) bool {
	return subscription || strings.HasPrefix(subject, topology.NextJobs(""))
}

// deniedLane returns the served lane whose permission was denied, or nil.
func (p *Puller) deniedLane(err error) *lane {
	denied, ok := errors.AsType[*jetstream.DeniedError](err)
	if !ok {
		return nil
	}
	if name, ok := strings.CutPrefix(denied.Subject, topology.NextJobs("")); ok {
		return p.lanes[jobs.Lane(name)]
	}
	if !denied.Passing {
		return nil // a scan of the lanes finds jobs without a bell
	}
	for _, l := range p.turn {
		if denied.Subject == l.bell.Subject || denied.Subject == l.box.sub.Subject {
			return l
		}
	}
	return nil
}

// refused handles a denied permission. It skips the lane for a while if the
// permission was withdrawn, else until the next connection. A worker that may
// pull from no lane gives up.
func (p *Puller) refused(ctx context.Context, err error) {
	l := p.deniedLane(err)
	if l == nil {
		return
	}
	if l.out > 0 {
		p.abandon(l)
	}
	l.want, l.silenced = false, true
	if errors.Is(err, jetstream.ErrWithdrawn) {
		p.openLater(ctx, l)
		return
	}
	name := l.name
	if p.served {
		p.c.Logger().Error("NATS does not let this worker pull from a lane", "url", p.c.URL(), "lane", name, "error", err)
		return
	}
	for _, l := range p.turn {
		if !l.silenced {
			return
		}
	}
	p.denied = err
}
