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

// Follow folds the run's log from its beginning and calls sink, on one
// goroutine, with its events in order; with logs, also with every line that
// its modules write, all of an attempt's before the event that ends it. It
// returns the report when the run has ended. After a reconnect, and when the
// stream is another one, it folds again from the beginning: what the sink has
// seen and still stands in the log is not repeated; where the server lost the
// last part of the log, events of what happens instead follow. The error is
// broker.ErrNotFound when there is no such run, a broker.DroppedError when
// its log is dropped, also when the sink is so slow that this happens meanwhile,
// and a broker.GoneError when NATS loses the log.
func (c *Client) Follow(ctx context.Context, run jobs.RunID, logs bool, sink func(report.Event)) (*report.Report, error) {
	if there, err := c.conn.Runs.Exists(ctx, run); err != nil {
		return nil, fmt.Errorf("follow run %s: %w", run, err)
	} else if !there {
		if err := c.conn.Runs.Dropped(ctx, run); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("run %s: %w", run, broker.ErrNotFound)
	}
	f := &follower{
		run: run, sink: sink, away: func() bool { return !c.conn.Connected() }, gone: c.conn.Runs.Gone(run),
		entries: make(chan jobs.Entry, runlog.Buffered),
		chunks:  make(chan broker.LogEntry, chunksBuffered),
		written: map[jobs.AttemptID]*attemptLog{},
	}
	f.state = schedule.NewRun(f.send)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return runlog.Follow(ctx, c.conn.Runs, run, f.entries) })
	g.Go(func() error { return runlog.WatchGone(ctx, c.conn.Runs, run) })
	if logs {
		f.logs = true
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
	return c.reportOf(context.WithoutCancel(ctx), f.state)
}

// errFollowed ends the goroutines of Follow after the end of the run.
var errFollowed = errors.New("followed to the end")

// chunksBuffered bounds what is read of the logs ahead of the sink: 64 KiB each.
const chunksBuffered = 64

// stalled is for how many seconds an end waits for log chunks that its outcome
// counts but that do not arrive, although NATS is there: the log stream has
// limits of age and size.
const stalled = 10

// stalledUnread is the same where a chunk was left out that may be one of them.
const stalledUnread = 2

// follower turns a log into events. One goroutine owns it.
type follower struct {
	run     jobs.RunID
	state   *schedule.Run
	sink    func(report.Event)
	away    func() bool // there is no connection
	gone    error       // what it ends with when another run has the id
	seq     uint64
	folded  []place // of the entries whose events were sent
	next    int     // in folded: the entry that comes next, when they are read again
	again   bool    // the entry that is folded was folded before: its events were sent
	logs    bool
	entries chan jobs.Entry
	chunks  chan broker.LogEntry
	written map[jobs.AttemptID]*attemptLog
	held    int // bytes of output whose attempt has not been seen to start
}

// place tells an entry of a log from another that has its sequence later.
type place struct {
	sequence uint64
	stored   time.Time
}

// maxHeld is how much output may wait for its attempt's start before the
// record of that is read first.
const maxHeld = 8 << 20

// attemptLog is what has arrived of an attempt's log.
type attemptLog struct {
	started bool            // its module.started has been sent
	chunks  map[string]int  // by writer: the number of the last one
	unread  bool            // a chunk was left out whose writer is not known
	lines   [3]lines.Joiner // by stream
	held    []report.Event  // lines that wait for module.started
}

func (f *follower) loop(ctx context.Context) error {
	for {
		chunks := f.chunks
		if f.held > maxHeld || f.next < len(f.folded) { // the state does not know every module again
			chunks = nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case c := <-chunks:
			f.chunk(c)
		case e := <-f.entries:
			if err := f.entry(ctx, e); err != nil {
				return err
			}
			if e.Sequence == 0 {
				continue
			}
			if end := f.state.Ended(); end != nil && f.state.Live() > 0 && !end.Forced { // what was before it is gone
				return &broker.DroppedError{Run: f.run, End: *end, Ended: e.Time}
			} else if end != nil {
				return nil
			}
		}
	}
}

func (f *follower) entry(ctx context.Context, e jobs.Entry) error {
	if e.Sequence == 0 {
		f.state, f.next = schedule.NewRun(f.send), 0
		return nil
	}
	again, err := f.recognise(e)
	if err != nil {
		return err
	}
	if again {
		f.again = true
		defer func() { f.again = false }()
		return f.apply(e)
	}
	o := e.Record.Outcome
	if o == nil || !f.logs {
		return f.apply(e)
	}
	id := jobs.AttemptID{Module: e.Cell, Attempt: o.Attempt}
	f.awaitLog(ctx, id, o)
	f.flush(id)
	err = f.apply(e)
	f.forget(id)
	return err
}

// recognise finds out whether an entry was folded before. From the first on
// that is another one, the log has lost what stood there.
func (f *follower) recognise(e jobs.Entry) (again bool, err error) {
	at := place{e.Sequence, e.Time}
	again = f.next < len(f.folded) && f.folded[f.next].sequence == at.sequence && f.folded[f.next].stored.Equal(at.stored)
	if !again {
		if f.next == 0 && len(f.folded) > 0 {
			return false, f.gone // the id is another run's
		}
		f.folded = append(f.folded[:f.next], at)
	}
	f.next++
	return again, nil
}

func (f *follower) apply(e jobs.Entry) error {
	if err := f.state.Apply(e); err != nil {
		return fmt.Errorf("fold entry %d of run %s: %w", e.Sequence, f.run, err)
	}
	return nil
}

// awaitLog takes chunks until those that an outcome counts are complete.
func (f *follower) awaitLog(ctx context.Context, id jobs.AttemptID, o *jobs.Outcome) {
	if o.LogChunks == 0 {
		return
	}
	look := time.NewTicker(time.Second)
	defer look.Stop()
	quiet := 0
	for a := f.log(id); a.chunks[o.Nonce] < o.LogChunks && quiet < stalled && (!a.unread || quiet < stalledUnread); {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
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

// flush sends lines that never got their end, when their attempt has ended.
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
	e.Module = f.state.NameOf(id.Module)
	f.send(e)
}

// release hands on what was held of an attempt's output.
func (f *follower) release(a *attemptLog, to func(report.Event)) {
	for _, e := range a.held {
		f.held -= len(e.Text)
		to(e)
	}
	a.held = nil
}

func (f *follower) send(e report.Event) {
	if f.again {
		return
	}
	f.seq++
	e.Seq = f.seq
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	f.sink(e)
	if e.Event != report.EventModuleStarted || !f.logs {
		return
	}
	moduleID, _ := f.state.TokenOf(e.Module)
	a := f.log(jobs.AttemptID{Module: moduleID, Attempt: jobs.Attempt(e.Attempt)})
	a.started = true
	f.release(a, func(line report.Event) {
		line.Module = e.Module
		f.send(line)
	})
}
