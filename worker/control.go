package worker

import (
	"context"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
)

// idleAfter is how long a worker that exits when idle waits for another attempt.
const idleAfter = 2 * time.Second

// control handles a request that arrives over core NATS, if an orchestrator has signed
// it. Requests are repeated until the log answers, so handling one twice changes
// nothing.
func (s *shift) control(m *broker.Received) {
	if m.Greet != nil && s.trust.greeted(m.Greet) {
		s.beatNow()
	}
	if m.Drain != nil && s.trust.believes(m, "drain") {
		s.log.Info("told to drain", "by", m.Drain.By)
		s.w.Drain()
	}
	if c := m.Cancel; c != nil {
		s.each(func(a *task) {
			if !a.Cancelled(c.Run, c, m.Signed) {
				s.trust.ignore("cancel " + a.String())
			}
		})
	}
	if m.Answer != nil {
		s.each(func(a *task) { a.Answered(m.Answer, m.Signed) })
	}
	if m.Probe != nil {
		s.probe(m)
	}
}

// probe handles the question about a claim. It opens the key of the attempt, which this
// worker has forgotten.
func (s *shift) probe(m *broker.Received) {
	p := *m.Probe
	if p.Incarnation != s.self.Incarnation || !s.trust.believes(m, "probe") {
		return
	}
	if len(p.Key) > 0 {
		key, err := s.trust.box.Open(p.Key)
		if err != nil {
			s.trust.ignore("probe")
			return
		}
		p.Key = key
	}
	s.probed(&p)
}

// probed records an attempt as lost that this worker has claimed, according to the
// log, unless it executes it. It answers one question at a time; the others are
// repeated.
func (s *shift) probed(p *jobs.Probe) {
	held := false
	s.each(func(a *task) { held = held || a.Nonce() == p.Nonce })
	if held {
		return
	}
	select {
	case s.probing <- struct{}{}:
	default:
		return
	}
	on := s.conn.Connection()
	s.attemptsWG.Go(func() {
		defer func() { <-s.probing }()
		ctx, cancel := context.WithTimeout(s.work, s.ttl)
		defer cancel()
		if err := s.self.Probed(ctx, on, p); err != nil && ctx.Err() == nil {
			s.log.Warn("an attempt could not be recorded as lost", "run", p.Run, "module", p.Module, "attempt", p.Attempt, "error", err)
		}
	})
}

// whenIdle drains a worker that exits when idle.
func (s *shift) whenIdle(ctx context.Context) error {
	if !s.cfg.ExitWhenIdle {
		return nil
	}
	select {
	case <-s.looked:
	case <-ctx.Done():
		return nil
	}
	s.mu.Lock()
	s.busy = time.Now()
	s.mu.Unlock()
	for {
		select {
		case <-s.unsettled.none():
		case <-ctx.Done():
			return nil
		}
		s.mu.Lock()
		wait := time.Until(s.busy.Add(idleAfter))
		s.mu.Unlock()
		if wait <= 0 {
			s.w.Drain()
			return nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}
