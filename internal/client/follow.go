package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/lines"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// FollowOptions configures Follow. The zero value waits for the end of the run.
type FollowOptions struct {
	// Sink receives the run's events, in order, from one goroutine; nil = none are
	// sent. A slow sink may delay Follow so long that the log is dropped before
	// Follow has read it.
	Sink func(report.Event)
	// Output also sends every line that the modules write. The lines of an attempt
	// come before the event that ends the attempt.
	Output bool
	// Feed passes the fold of an orchestrator in this process. Follow folds the log
	// itself only when the feed ends before the run does. nil = no orchestrator here.
	Feed *Feed
}

// Follow folds the run's log from its beginning, sends its events, and returns
// the report when the run has ended.
//
// After a reconnect, and after the stream was replaced, Follow folds the log
// again from its beginning. It does not repeat events of entries that are still
// in the log. When the server has lost the last part of the log, the events of
// the new entries follow. When the log rejects a record that Follow had believed, the
// events from that record on follow again, without it.
//
// The error is broker.ErrNotFound when there is no such run, a
// broker.DroppedError when the log is dropped, and a broker.GoneError when NATS
// loses the log.
func (c *Client) Follow(ctx context.Context, run jobs.RunID, o FollowOptions) (*report.Report, error) {
	if exists, err := c.conn.Runs.Exists(ctx, run); err != nil {
		return nil, fmt.Errorf("follow run %s: %w", run, err)
	} else if !exists {
		if err := c.conn.Runs.Dropped(ctx, run); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("run %s: %w", run, broker.ErrNotFound)
	}
	f := &follower{
		run: run, sink: o.Sink, logs: o.Output, away: func() bool { return !c.conn.Connected() }, gone: c.conn.Runs.Gone(run),
		alone:   make(chan struct{}),
		entries: make(chan jobs.Entry, runlog.Buffered),
		chunks:  make(chan broker.LogEntry, chunksBuffered),
		written: map[jobs.AttemptID]*attemptLog{},
		cached:  c.CachedOutput,
	}
	if f.sink == nil {
		f.sink = func(report.Event) {}
	}
	if o.Feed != nil {
		f.led = o.Feed.steps
	} else {
		f.foldAlone()
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		select {
		case <-f.alone:
			return runlog.Follow(ctx, c.conn.Runs, run, f.entries)
		case <-ctx.Done():
			return nil
		}
	})
	g.Go(func() error { return runlog.WatchGone(ctx, c.conn.Runs, run) })
	if o.Output {
		g.Go(func() error { return c.conn.Logs.Follow(ctx, run, f.chunks) })
	}
	g.Go(func() error {
		if err := runlog.Contain(slog.New(slog.DiscardHandler), run, func() error { return f.loop(ctx) }); err != nil {
			return err
		}
		return errFollowed
	})
	err := g.Wait()
	if runlog.Unreadable(err) {
		if r := c.endedByForce(context.WithoutCancel(ctx), run); r != nil {
			return r, nil
		}
	}
	if !errors.Is(err, errFollowed) {
		return nil, err
	}
	return c.reportOf(context.WithoutCancel(ctx), f.ended)
}

// errFollowed ends the goroutines of Follow after the end of the run.
var errFollowed = errors.New("followed to the end")

// chunksBuffered is how many log chunks, of up to 64 KiB each, are read ahead
// of the sink.
const chunksBuffered = 64

// maxQuiet is for how many seconds an outcome waits, while NATS is connected,
// for the next of the log chunks that it counts. They may never arrive, because
// the log stream has limits of age and size.
const maxQuiet = 10

// maxQuietUnread replaces maxQuiet when a chunk was skipped that may be one of
// those that the outcome counts.
const maxQuietUnread = 2

// follower turns a log into events. One goroutine owns it.
type follower struct {
	run     jobs.RunID
	led     <-chan *schedule.Step // from the orchestrator in this process; nil = no feed, or the feed has ended
	alone   chan struct{}         // closed when the follower folds the log itself
	steps   *schedule.Steps       // the follower's fold, when it folds the log itself
	ended   *schedule.Run         // the run, when it has ended
	sink    func(report.Event)
	away    func() bool // reports that there is no connection
	gone    error       // the error of loop when a different run has the id
	folded  []entryID   // the entries whose events were sent
	next    int         // index in folded of the next entry while the log is read again
	logs    bool
	entries chan jobs.Entry
	chunks  chan broker.LogEntry
	written map[jobs.AttemptID]*attemptLog
	cached  func(context.Context, *jobs.Cached, func([]byte) error) error // reads the output of a cached result
	held    int                                                           // bytes of output of attempts whose start is not folded yet
}

// entryID identifies an entry of a log. A server that has lost the last part of
// a log uses its sequences again, so the time is part of the identity. A record
// that is rejected after it was folded becomes another entry, so that the events
// that are right without it are sent.
type entryID struct {
	sequence uint64
	stored   time.Time
	forged   bool
}

func (i entryID) is(o entryID) bool {
	return i.sequence == o.sequence && i.stored.Equal(o.stored) && i.forged == o.forged
}

// maxHeld is how many bytes of output may wait for the start of their attempts.
// Above it the loop reads no more output until it has read those records.
const maxHeld = 8 << 20

// attemptLog is the part of an attempt's log that has arrived.
type attemptLog struct {
	started bool            // its module.started was sent
	module  string          // its name, from then on
	chunks  map[string]int  // the number of the last chunk of each writer
	unread  bool            // a chunk of an unknown writer was skipped
	lines   [3]lines.Joiner // by stream
	held    []report.Event  // lines that wait for module.started
}

func (f *follower) loop(ctx context.Context) error {
	for f.ended == nil {
		chunks := f.chunks
		if f.held > maxHeld || f.next < len(f.folded) { // the entries with known events are read again first
			chunks = nil
		}
		var err error
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case c := <-chunks:
			f.chunk(c)
		case step, ok := <-f.led:
			if !ok {
				f.foldAlone()
				continue
			}
			err = f.step(ctx, *step)
		case e := <-f.entries:
			err = f.entry(ctx, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// foldAlone switches the follower to its own fold of the log, which reads the log
// from its beginning.
func (f *follower) foldAlone() {
	f.led, f.next, f.steps = nil, 0, schedule.NewSteps()
	close(f.alone)
}

// entry folds an entry. An entry without a sequence announces that the log is
// read again from its start.
func (f *follower) entry(ctx context.Context, e jobs.Entry) error {
	if e.Sequence == 0 {
		f.steps = schedule.NewSteps()
		return f.step(ctx, schedule.Step{})
	}
	step, err := f.steps.Apply(e)
	if err != nil {
		return fmt.Errorf("fold entry %d of run %s: %w", e.Sequence, f.run, err)
	}
	return f.step(ctx, step)
}

// step sends the events of an entry, unless they were sent before.
func (f *follower) step(ctx context.Context, step schedule.Step) error {
	e := step.Entry
	if e.Sequence == 0 {
		f.next = 0
		return nil
	}
	known, err := f.recognise(e)
	if err != nil {
		return err
	}
	if !known {
		f.sendStep(ctx, step)
	}
	if step.Run == nil {
		return nil
	}
	if end := step.Run.Ended(); step.Live > 0 && !end.Forced { // the entries before it are gone
		return &broker.DroppedError{Run: f.run, End: *end, Ended: e.Time}
	}
	f.ended = step.Run
	return nil
}

// sendStep sends the events of an entry. It sends the events of an outcome after
// the output of the attempt.
func (f *follower) sendStep(ctx context.Context, step schedule.Step) {
	o := step.Entry.Record.Outcome
	if o == nil || !f.logs {
		f.sendEvents(step)
		return
	}
	if o.Cached != nil {
		f.sendCached(ctx, step)
		return
	}
	id := jobs.AttemptID{Module: step.Entry.Cell, Attempt: o.Attempt}
	f.awaitLog(ctx, id, o)
	f.flush(id)
	f.sendEvents(step)
	f.forget(id)
}

// sendEvents sends the events of an entry. After the start of an attempt it sends
// the held output of the attempt.
func (f *follower) sendEvents(step schedule.Step) {
	for _, e := range step.Events {
		f.send(e)
		if e.Event != report.EventModuleStarted || !f.logs {
			continue
		}
		a := f.log(jobs.AttemptID{Module: step.Entry.Cell, Attempt: jobs.Attempt(e.Attempt)})
		a.started, a.module = true, e.Module
		f.release(a, func(line report.Event) {
			line.Module = e.Module
			f.send(line)
		})
	}
}

// recognise reports whether an entry was folded before. At the first entry that
// differs, the log has lost the entries that were folded from there on, and
// recognise drops their identities. It returns f.gone when already the first
// entry of the log differs.
func (f *follower) recognise(e jobs.Entry) (known bool, err error) {
	id := entryID{e.Sequence, e.Time, e.Auth == jobs.Forged}
	known = f.next < len(f.folded) && f.folded[f.next].is(id)
	if !known {
		if f.next == 0 && len(f.folded) > 0 {
			return false, f.gone // a different run has the id
		}
		f.folded = append(f.folded[:f.next], id)
	}
	f.next++
	return known, nil
}

// awaitLog takes chunks until all that the outcome counts have arrived. It gives
// up after maxQuiet or maxQuietUnread seconds without a chunk. Seconds without a
// connection do not count.
func (f *follower) awaitLog(ctx context.Context, id jobs.AttemptID, o *jobs.Outcome) {
	if o.LogChunks == 0 {
		return
	}
	second := time.NewTicker(time.Second)
	defer second.Stop()
	quiet := 0
	for a := f.log(id); a.chunks[o.Nonce] < o.LogChunks && quiet < maxQuiet && (!a.unread || quiet < maxQuietUnread); {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
			if quiet++; f.away() {
				quiet = 0
			}
		case c := <-f.chunks:
			f.chunk(c)
			quiet = 0
		}
	}
}

func (f *follower) log(id jobs.AttemptID) *attemptLog {
	a, ok := f.written[id]
	if !ok {
		a = &attemptLog{chunks: map[string]int{}}
		f.written[id] = a
	}
	return a
}

func (f *follower) chunk(c broker.LogEntry) {
	a := f.log(c.ID)
	if c.Unread != nil && c.Chunk.Number == 0 {
		a.unread = true
		return
	}
	a.chunks[c.Chunk.Writer] = max(a.chunks[c.Chunk.Writer], c.Chunk.Number)
	for _, p := range c.Chunk.Parts {
		_ = a.lines[p.Stream%3].Add(p.Data, func(l lines.Line) error {
			f.line(a, c.ID, p.Stream, c.Chunk.Time, l)
			return nil
		})
	}
}

// flush sends the unfinished last lines of an attempt that has ended.
func (f *follower) flush(id jobs.AttemptID) {
	a, ok := f.written[id]
	if !ok {
		return
	}
	for s := range a.lines {
		_ = a.lines[s].Flush(func(l lines.Line) error {
			f.line(a, id, jobs.Stream(s), time.Time{}, l)
			return nil
		})
	}
}

func (f *follower) forget(id jobs.AttemptID) {
	if a, ok := f.written[id]; ok {
		f.release(a, func(report.Event) {})
		delete(f.written, id)
	}
}

func (f *follower) line(a *attemptLog, id jobs.AttemptID, s jobs.Stream, at time.Time, l lines.Line) {
	e := report.Event{
		V: 1, Run: string(f.run), Event: report.EventModuleOutput, Time: at, Attempt: int(id.Attempt), Stream: s.String(),
		Text: l.String(),
	}
	if !a.started {
		a.held = append(a.held, e)
		f.held += len(e.Text)
		return
	}
	e.Module = a.module
	f.send(e)
}

// release passes the held lines of an attempt to a function, and drops them.
func (f *follower) release(a *attemptLog, to func(report.Event)) {
	for _, e := range a.held {
		f.held -= len(e.Text)
		to(e)
	}
	a.held = nil
}

func (f *follower) send(e report.Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	f.sink(e)
}
