package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

const (
	// lookAgain is the time between two looks. Orchestrators and workers may take new
	// work in between. The check reports only what both looks find.
	lookAgain = 5 * time.Second
	mostRuns  = 100 // runs without an end whose logs are read
)

// lossCheck finds the remains of a loss.
type lossCheck struct{ *doctor }

// examineLoss finds the remains after a server has lost its store, or the last part of
// it, while orchestrators and workers were connected.
func (doc *doctor) examineLoss(ctx context.Context) {
	d := lossCheck{doc}
	if !d.Remote {
		return
	}
	ctx, stop := context.WithTimeout(ctx, doctorStep+lookAgain)
	defer stop()
	holders, err := kv.Holders(ctx, d.conn.Conn)
	if err != nil {
		return // the check of permissions reports this
	}
	missing := d.examineMissing(holders)
	d.examineReaders(ctx)
	if !missing { // a reader waits until its stream exists
		d.examineRuns(ctx)
	}
}

// examineMissing distinguishes lost streams from streams that were never created.
// Programs create all streams together, before they register. It reports whether a
// stream is missing.
func (d lossCheck) examineMissing(holders map[string]jobs.RunLease) bool {
	var missing []string
	for i := range d.assets {
		a := &d.assets[i]
		if !isStream(a.Name) {
			continue
		}
		if errors.Is(a.Err, broker.ErrNotFound) {
			missing = append(missing, a.Name)
		}
	}
	if len(missing) == 0 || len(holders)+len(d.workers) == 0 {
		return len(missing) > 0
	}
	d.fault("lost streams", "was the store of the server lost, or a stream deleted? A connected program that has the permission creates them within seconds;\n"+
		"if this stays, start an orchestrator or a worker that may create streams, and submit again the runs whose logs were in them",
		"%s: missing, although %s and %s use this NATS", strings.Join(missing, ", "), phrase.Count(len(d.workers), "worker"), phrase.Count(len(holders), "lease"))
	return true
}

// isStream reports whether an asset is a stream or object store of modpipe,
// not a bucket.
func isStream(asset string) bool {
	return strings.HasPrefix(asset, "MP_") || strings.HasPrefix(asset, "OBJ_")
}

func (d lossCheck) examineReaders(ctx context.Context) {
	lost, err := d.probe.LostReaders(ctx)
	if err != nil {
		return // this user may not list consumers
	}
	if len(lost) == 0 {
		d.ok("readers", "none waits beyond the end of its stream")
		return
	}
	var text []string
	for _, r := range lost {
		text = append(text, fmt.Sprintf("a reader of %s waits after sequence %d, and the stream ends at %d", r.Stream, r.Position, r.End))
	}
	d.fault("readers", "the stream was lost and created again, and these readers receive nothing new: restart the orchestrators, workers and followers that do not notice it within seconds", "%s", phrase.Few(text, 3))
}

// odd is what looks wrong with runs that have not ended, in words.
type odd struct {
	open         int      // runs that have not ended
	waiting      []string // runs without an orchestrator
	unregistered []string // claims of workers that the registry does not have
	idle         []string // claims that their workers do not execute
}

// examineRuns checks the runs that have not ended: which orchestrator decides for them,
// and whether workers execute what their logs claim. It looks twice.
func (d lossCheck) examineRuns(ctx context.Context) {
	first, err := d.lookAtRuns(ctx)
	if err != nil {
		return // this user may not read them
	}
	found := first
	if len(first.waiting)+len(first.unregistered)+len(first.idle) > 0 {
		if pause.For(ctx, lookAgain) != nil {
			return
		}
		second, err := d.lookAtRuns(ctx)
		if err != nil {
			return
		}
		found = odd{second.open, both(first.waiting, second.waiting), both(first.unregistered, second.unregistered), both(first.idle, second.idle)}
	}
	d.reportWaiting(ctx, &found)
	d.reportClaims(&found)
}

// both returns the texts that are in both lists.
func both(a, b []string) (common []string) {
	for _, text := range a {
		if slices.Contains(b, text) {
			common = append(common, text)
		}
	}
	return common
}

func (d lossCheck) lookAtRuns(ctx context.Context) (odd, error) {
	holders, err := kv.Holders(ctx, d.conn.Conn)
	if err != nil {
		return odd{}, err
	}
	workers, err := kv.Workers(ctx, d.conn.Conn)
	if err != nil {
		return odd{}, err
	}
	runs, err := d.conn.Runs.ListOpen(ctx, time.Now().Add(24*time.Hour))
	if err != nil {
		return odd{}, err
	}
	found := odd{open: len(runs)}
	for _, run := range runs[max(0, len(runs)-mostRuns):] {
		if _, held := holders[string(run)]; !held {
			found.waiting = append(found.waiting, string(run))
		}
		claims, err := openClaims(ctx, d.conn, run)
		if err != nil {
			continue // `runs list` shows unreadable runs
		}
		for i := range claims {
			found.claim(&claims[i], workers)
		}
	}
	return found, nil
}

// claim notes a claim that no worker executes, according to the registry.
func (o *odd) claim(c *openClaim, workers []jobs.WorkerInfo) {
	text := fmt.Sprintf("%s of run %s, attempt %d, by worker %s", c.Module, c.Run, c.Claim.Attempt, c.Claim.Worker)
	switch claimedBy(c, workers) {
	case claimAbsent:
		o.unregistered = append(o.unregistered, text)
	case claimIdle:
		o.idle = append(o.idle, text)
	case claimRuns:
	}
}

func (d lossCheck) reportWaiting(ctx context.Context, found *odd) {
	if len(found.waiting) == 0 {
		d.ok("runs", "%s without an end, each with an orchestrator that decides for it", phrase.Count(found.open, "run"))
		return
	}
	for _, run := range found.waiting {
		if why := d.Unkeyed(ctx, d.conn, jobs.RunID(run)); why != "" {
			d.warn("signing key", "all orchestrators of a NATS share one key file: copy it with mode 0600, and name it with --signing-key", "run %s: %s", run, why)
			break // one shows how to solve it
		}
	}
	advice := "`orchestrator resume RUN` takes one over, or start `orchestrator serve`"
	if serving, err := d.Serving(ctx, d.conn); err == nil && serving {
		advice = "an orchestrator serves, and does not take them: is its --max-runs reached? Look into its log, or start it again"
	}
	d.warn("runs", advice, "no orchestrator decides for %s: %s", phrase.Count(len(found.waiting), "run"), phrase.Few(found.waiting, 5))
}

func (d lossCheck) reportClaims(found *odd) {
	if len(found.unregistered) > 0 {
		d.warn("absent workers", "the orchestrator of the run declares the attempts lost within seconds; if this stays, `orchestrator resume RUN`, or start the workers again",
			"claimed by workers that are not registered: %s", phrase.Few(found.unregistered, 5))
	}
	if len(found.idle) > 0 {
		d.warn("claims", "the server may have lost the outcomes: the orchestrator of the run asks the worker, which gives the attempts up;\nif this stays, `orchestrator runs cancel RUN`, or start the worker again",
			"claimed, and the worker does not execute it: %s", phrase.Few(found.idle, 5))
	}
}

// claimState is the state of a claim according to the registry.
type claimState int

const (
	claimRuns claimState = iota // or the registry does not show it
	claimAbsent
	claimIdle
)

func claimedBy(c *openClaim, workers []jobs.WorkerInfo) claimState {
	i := slices.IndexFunc(workers, func(w jobs.WorkerInfo) bool {
		return w.Name == c.Claim.Worker && w.Incarnation == c.Claim.Incarnation
	})
	if i < 0 {
		return claimAbsent
	}
	w := &workers[i]
	listed := slices.ContainsFunc(w.Running, func(e jobs.RunningEntry) bool {
		return e.Run == c.Run && e.Module == c.Module && e.Attempt == c.Claim.Attempt
	})
	if !listed && len(w.Running) < jobs.MostListed {
		return claimIdle
	}
	return claimRuns
}
