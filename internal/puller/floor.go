package puller

import (
	"context"
	"errors"
	"math"

	"github.com/modpipe/modpipe/internal/bell"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// findFloor reads which jobs are older than this connection. Until it is known,
// every delivery counts as older.
func (p *Puller) findFloor(ctx context.Context) {
	p.floor = math.MaxUint64
	on := p.c.Connection()
	p.work.Go(func() error {
		info, err := p.c.StreamInfo(p.c.PinTo(ctx, on), streams.Jobs)
		if errors.Is(err, jetstream.ErrNotFound) { // all jobs in a recreated queue are newer than this connection
			p.send(ctx, event{do: func() {
				if p.c.Connection() == on {
					p.floor = 0
				}
			}})
			return nil
		}
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, jetstream.ErrReconnected) {
				p.c.Logger().Warn("every job is asked about until the queue's state can be read", "url", p.c.URL(), "error", err)
			}
			return nil
		}
		p.send(ctx, event{do: func() {
			if p.c.Connection() == on {
				p.floor = info.State.LastSeq
			}
		}})
		return nil
	})
}

// onRecreated notes that the queue may have been recreated: then its sequences
// start at 1, and none of its jobs is older than this connection.
func (p *Puller) onRecreated(ctx context.Context) {
	for _, l := range p.turn {
		l.startOver()
	}
	p.work.Go(func() error {
		if info, err := p.c.StreamInfo(ctx, streams.Jobs); err == nil {
			p.send(ctx, event{do: func() {
				if info.State.LastSeq < p.floor && p.floor != math.MaxUint64 {
					p.floor = 0
				}
			}})
		}
		return nil
	})
}

// startOver forgets the known sequences of the queue.
func (l *lane) startOver() {
	l.seen, l.announced, l.rung, l.waiting, l.want = 0, 0, 0, bell.Waiting[jobs.Rank]{}, true
}
