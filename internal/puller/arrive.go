package puller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/jobs"
)

// mostQuoted is how many bytes a message quotes of a text that others wrote.
const mostQuoted = 100

// countArrival subtracts a delivery from the request that it answers.
func (p *Puller) countArrival(box *inbox) {
	if l := box.lane; l != nil && l.out > 0 {
		l.out--
		p.reserved -= l.each
	}
}

// arrived takes a job, or gives it back when its slots are no longer free.
func (p *Puller) arrived(ctx context.Context, box *inbox, m *nats.Msg) {
	asked := box.lane != nil && box.lane.out > 0
	p.countArrival(box)
	slots := box.slots
	if l := box.lane; l != nil {
		slots = l.slots
		if asked {
			slots = l.each
		}
	}
	free := p.slots - p.used - p.reserved
	if free < slots || (p.stopping && !asked) {
		p.giveBack(m)
		return
	}
	meta, err := m.Metadata()
	if err != nil {
		p.c.Logger().Error("a job without its place in the queue", "url", p.c.URL(), "subject", m.Subject, "error", err)
		return
	}
	p.answered(box)
	if l := box.lane; l != nil {
		l.delivered(meta.Sequence.Stream, jobs.ParseRank(m.Header.Get(topology.RankHeader)), time.Now())
		l.more = meta.NumPending > 0 || meta.NumDelivered > 1
		l.seen, l.announced = max(l.seen, meta.Sequence.Stream), 0
	}
	p.used += slots
	if p.queue.ByReference(m) {
		p.fetch(ctx, m, meta, slots, box.on)
		return
	}
	body, err := p.queue.Body(ctx, m)
	p.take(m, meta, slots, box.on, body, err)
}

// fetch reads the body of a job from the object store, outside Run.
func (p *Puller) fetch(ctx context.Context, m *nats.Msg, meta *nats.MsgMetadata, slots int, on uint64) {
	p.fetching++
	p.work.Go(func() error {
		body, late, err := p.body(ctx, m)
		if late {
			p.giveBack(m)
		}
		p.send(ctx, event{do: func() {
			p.fetching--
			if late {
				p.used -= slots
				return
			}
			p.take(m, meta, slots, on, body, err)
		}})
		return nil
	})
}

// body reads the body of a job, however long a slow link takes, and delays the
// redelivery in the meantime. late = the server was unreachable for so long that
// it has redelivered the job.
func (p *Puller) body(ctx context.Context, m *nats.Msg) (body []byte, late bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() {
		defer cancel()
		renewed := time.Now()
		for pause.For(ctx, AckWait/3) == nil {
			if answer(m, ackProgress) == nil {
				renewed = time.Now()
			} else if time.Since(renewed) > AckWait {
				return
			}
		}
	})
	body, err = p.queue.Body(ctx, m)
	late = ctx.Err() != nil
	cancel()
	renewing.Wait()
	return body, late, err
}

// answered notes that a lane has answered: the worker begins its work.
func (p *Puller) answered(box *inbox) {
	if l := box.lane; l != nil {
		p.c.NoteAllowed(l.next)
	}
	if !p.served {
		p.served = true
		p.c.Settle()
	}
}

// take hands a job to the worker, and refuses a job that no worker can execute.
func (p *Puller) take(m *nats.Msg, meta *nats.MsgMetadata, slots int, on uint64, body []byte, err error) {
	var job jobs.Job
	if err == nil {
		job, err = jobs.Unmarshal[jobs.Job](body)
	}
	if err == nil && !topology.IsJob(m.Subject, &job) {
		err = fmt.Errorf("%w: it asks for another attempt than its subject: lane %q, run %q, module %q, attempt %d",
			jobs.ErrMalformed, jobs.Clip(string(job.Lane), mostQuoted), jobs.Clip(string(job.Run), mostQuoted), jobs.Clip(string(job.Module), mostQuoted), job.Attempt)
	}
	if err != nil {
		p.used -= slots
		p.refuse(m, err)
		return
	}
	p.handle(&Delivery{
		Job: job, Lane: job.Lane, Slots: slots, msg: m, c: p.c, Connection: on,
		MaybeDuplicate: job.MaybeDuplicate || meta.NumDelivered > 1 || (!job.StoreBy.IsZero() && meta.Timestamp.After(job.StoreBy)),
		Older:          meta.Sequence.Stream <= p.floor,
	})
}

// refuse handles a job that this worker cannot execute. It leaves a job of a newer
// version to newer workers; without any, a sweep removes the job.
func (p *Puller) refuse(m *nats.Msg, err error) {
	switch {
	case errors.Is(err, jobs.ErrNewer):
		p.c.WarnOnce(m.Subject, "left a job of a newer version to other workers", "subject", jobs.Clip(m.Subject, mostQuoted), "error", err)
	case jetstream.Transient(err):
		p.c.Logger().Warn("cannot read a job now; leaving it to others", "url", p.c.URL(), "subject", jobs.Clip(m.Subject, mostQuoted), "error", err)
	default:
		p.c.WarnOnce(m.Subject, "refused a job", "subject", jobs.Clip(m.Subject, mostQuoted), "error", err)
		_ = answer(m, []byte("+TERM refused")) // if this is lost, the job is delivered again
	}
}
