package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
)

// outcome is the record of how the attempt ended.
func (a *attempt) outcome(e ending, outputs jobs.Outputs, chunks int) *jobs.Outcome {
	return &jobs.Outcome{
		Attempt: a.job.Attempt, Status: e.status, Worker: a.s.cfg.Name, Incarnation: a.s.incarnation, Nonce: a.nonce,
		ExitCode: e.exitCode, Error: e.text, Reason: e.reason, Outputs: outputs, Permanent: e.permanent, RetryAfter: e.retryAfter,
		Started: e.started, Finished: e.finished, LogChunks: chunks, Warnings: slices.Concat(a.job.Warnings, e.warnings),
	}
}

// settle stores the outputs and the outcome, and acknowledges the job. ctx
// ends it when the worker has to go.
func (a *attempt) settle(ctx context.Context, e ending, chunks int) error {
	outputs, err := a.store(ctx, e)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("store the outputs of %s: %w", a, err)
	}
	if err != nil && e.status == jobs.AttemptSucceeded {
		e.status, e.text = jobs.AttemptFailed, "its outputs could not be stored: "+err.Error()
	}
	v, err := a.commit(ctx, a.outcome(e, outputs, chunks))
	if err != nil {
		return fmt.Errorf("commit %s: %w", a, err)
	}
	if v == drop {
		a.ack()
	}
	return nil
}

// store stores what a command has set, or a function has returned.
func (a *attempt) store(ctx context.Context, e ending) (jobs.Outputs, error) {
	if e.typed {
		return a.s.conn.PutResult(ctx, e.result)
	}
	return a.s.conn.PutOutputs(ctx, e.outputs)
}

// commit writes the outcome, expecting the claim's sequence, else the fence.
// Its verdict is what becomes of the job: drop when the attempt is closed, by
// this outcome or by another, which makes this one worthless; leave when
// another delivery holds it.
func (a *attempt) commit(ctx context.Context, o *jobs.Outcome) (verdict, error) {
	expect := a.job.Fence
	if seq := a.claimed.Load(); seq != 0 {
		expect = seq
	}
	wait := firstPause
	for range maxOdd {
		err := persist(ctx, func(ctx context.Context) error {
			_, err := a.s.conn.Append(ctx, a.job.Run, a.job.Token, expect, jobs.Record{Outcome: o})
			return err
		})
		if err == nil {
			return drop, nil
		}
		if !errors.Is(err, broker.ErrConflict) {
			return leave, err
		}
		seen, seq, err := a.look(ctx)
		if err != nil {
			return leave, err
		}
		switch {
		case seen == myClaim && seq != expect:
			expect = seq
			continue
		case seen == anothersClaim || seen == newer:
			a.s.log.Info("the outcome came too late and is discarded", "attempt", a.String(), "status", string(o.Status))
			return seen.verdict(), nil
		case seen == myOutcome:
			return drop, nil
		}
		if err := pause(ctx, wait); err != nil { // refused by a write that cannot be read yet
			return leave, err
		}
		wait = min(2*wait, maxPause)
	}
	return leave, errOdd
}

func (a *attempt) ack() {
	if err := a.d.Ack(); err != nil {
		a.s.log.Debug("a job was not acknowledged: it will come again and be recognised", "attempt", a.String(), "error", err)
	}
}
