package worker

import (
	"context"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// idleAfter is how long a worker that exits when idle waits for another attempt.
const idleAfter = 2 * time.Second

// control handles a request that arrives over core NATS. Requests are repeated until
// the log answers, so handling one twice changes nothing.
func (s *shift) control(m jobs.Control) {
	if m.Drain != nil {
		s.log.Info("told to drain", "by", m.Drain.By)
		s.w.Drain()
	}
	if c := m.Cancel; c != nil {
		s.each(func(a *task) { a.Cancelled(c.Run, c, nil) })
	}
	if m.Answer != nil {
		s.each(func(a *task) { a.Answered(m.Answer, nil) })
	}
	if m.Probe != nil {
		s.probed(m.Probe)
	}
}

// probed records an attempt as lost that this worker has claimed, according to the
// log, unless it executes it. It answers one question at a time; the others are
// repeated.
func (s *shift) probed(p *jobs.Probe) {
	held := false
	s.each(func(a *task) { held = held || a.Nonce() == p.Nonce })
	if held || p.Incarnation != s.self.Incarnation {
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
