package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

const (
	firstTrial = time.Second      // after an attempt that could not begin
	mostTrial  = 30 * time.Second // between trials; the pause doubles up to this
	trialLimit = 10 * time.Second // of one trial
	trialBytes = 64 << 10         // written by one trial
)

// health is the state of the machine: whether it can begin attempts, and the lanes
// that the worker serves while it can.
type health struct {
	failed chan struct{} // holds one token after an attempt that could not begin

	mu     sync.Mutex
	unable string // why the machine cannot begin attempts; empty = it can
	lanes  map[jobs.Lane]int
}

func newHealth() *health {
	return &health{failed: make(chan struct{}, 1), lanes: map[jobs.Lane]int{}}
}

// reason is why the machine cannot begin attempts; empty = it can.
func (h *health) reason() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.unable
}

// serveLane pulls from a lane, now or when the machine can begin attempts.
func (s *shift) serveLane(lane jobs.Lane, slots int) {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	s.health.lanes[lane] = slots
	if s.health.unable == "" {
		s.puller.Serve(lane, slots)
	}
}

func (s *shift) unserveLane(lane jobs.Lane) {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	delete(s.health.lanes, lane)
	s.puller.Unserve(lane)
}

// cannotBegin stops pulling after an attempt that the machine could not begin. It
// returns before the attempt is handed back, so that this worker does not take its
// next one.
func (s *shift) cannotBegin(a *task, why string) {
	s.health.mu.Lock()
	first := s.health.unable == ""
	s.health.unable = why
	for lane := range s.health.lanes {
		s.puller.Unserve(lane)
	}
	s.health.mu.Unlock()
	if !first {
		s.log.Debug("this machine could not begin an attempt", "attempt", a.String(), "reason", why)
		return
	}
	s.log.Error("this machine cannot begin attempts; the worker takes no more until a trial succeeds", "attempt", a.String(), "reason", why)
	select {
	case s.health.failed <- struct{}{}:
	default:
	}
	s.beatNow()
}

// canBegin resumes pulling.
func (s *shift) canBegin() {
	s.health.mu.Lock()
	s.health.unable = ""
	for lane, slots := range s.health.lanes {
		s.puller.Serve(lane, slots)
	}
	s.health.mu.Unlock()
	s.beatNow()
}

// trials runs trials after an attempt that could not begin, until one succeeds.
func (s *shift) trials(ctx context.Context) error {
	for {
		select {
		case <-s.health.failed:
		case <-ctx.Done():
			return nil
		}
		for wait := firstTrial; ; wait = min(2*wait, mostTrial) {
			if pause.For(ctx, wait) != nil {
				return nil //nolint:nilerr // the worker ends
			}
			if s.tried(ctx, wait) {
				break
			}
		}
	}
}

// tried runs one trial and reports whether the worker takes attempts again. A worker
// that is alone always does: no other worker can begin its jobs, and its hand-backs
// end the wait.
func (s *shift) tried(ctx context.Context, last time.Duration) bool {
	err := s.trial(ctx)
	switch {
	case err == nil:
		s.log.Info("a trial succeeded: this machine can begin attempts again")
		s.canBegin()
		return true
	case s.alone():
		s.log.Debug("a trial failed; there is no other worker, so the next attempt tries again", "reason", err)
		s.canBegin()
		return true
	}
	s.log.Warn("a trial failed: this machine still cannot begin attempts", "reason", err, "next_trial", min(2*last, mostTrial))
	s.health.mu.Lock()
	s.health.unable = err.Error()
	s.health.mu.Unlock()
	s.beatNow()
	return false
}

// alone reports whether no other process can execute the jobs of this worker.
func (s *shift) alone() bool { return s.cfg.Alone != nil && s.cfg.Alone() }

// trial begins a command as an attempt does: with a directory, files, pipes, and
// processes that start processes.
func (s *shift) trial(ctx context.Context) error {
	t := &exec.Task{
		Job: &jobs.Job{
			Name: "trial", Command: &jobs.CommandJob{Run: ": | :", Shell: "sh"}, Timeout: trialLimit, Grace: time.Second,
		},
		Needs:  map[string]jobs.Need{"trial": {Reason: strings.Repeat(" ", trialBytes)}},
		Worker: s.cfg.Name, Stops: stops{attempt.NewStops()},
	}
	r := exec.Run(ctx, s.commands.Bare(), t, discard{})
	switch {
	case r.Unable:
		return errors.New(r.Error)
	case r.ExitCode != nil && r.Status != report.AttemptSucceeded:
		return fmt.Errorf("a trial command did not succeed: %s", r.Error)
	}
	return nil // without a shell there is nothing to try
}

// discard is a sink that keeps nothing.
type discard struct{}

func (discard) Write(jobs.Stream, []byte) {}
