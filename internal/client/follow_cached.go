package client

import (
	"context"
	"errors"
	"slices"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/lines"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// sendCached sends the events of a module that took its result from the cache. Before
// the end of the module come a line that tells from where, and the output of the
// attempt that left the result, unless that has written nothing.
func (f *follower) sendCached(ctx context.Context, step schedule.Step) {
	from := step.Entry.Record.Outcome.Cached
	i := slices.IndexFunc(step.Events, func(e report.Event) bool { return e.Event == report.EventModuleEnded })
	if i < 0 || from.Log == jobs.EmptyBlob {
		f.sendEvents(step)
		return
	}
	send := func(stream jobs.Stream, text string) {
		f.send(report.Event{V: 1, Run: string(f.run), Event: report.EventModuleOutput, Module: step.Events[i].Module, Time: step.Events[i].Time, Stream: stream.String(), Text: text})
	}
	send(jobs.Stderr, FromCache(from))
	var joiner lines.Joiner
	line := func(l lines.Line) error { //nolint:unparam // as a Joiner wants it
		send(jobs.Stdout, l.String())
		return nil
	}
	err := f.cached(ctx, from, func(data []byte) error { return joiner.Add(data, line) })
	_ = joiner.Flush(line) // line returns no error
	switch {
	case errors.Is(err, broker.ErrNotFound):
		send(jobs.Stderr, NotKept)
	case err != nil && ctx.Err() == nil:
		send(jobs.Stderr, "its output cannot be read: "+err.Error())
	}
	f.sendEvents(step)
}
