package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/connect"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/flags"
	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/internal/natsembed"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/progress"
	"github.com/modpipe/modpipe/internal/redact"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/worker"
)

// runner runs one run in this process, on a wiring: a server if none is named, a
// worker if one is wanted, the orchestrator of the run, and its progress.
type runner struct {
	app       *app
	options   *execution
	workspace string
	// repository names the one in workspace; "" = as the workspace says.
	repository string
	storeDir   string
	progress   progress.Progress

	id       jobs.RunID
	pipeline string                                             // its name; "" = to be read from its log
	spec     *jobs.Spec                                         // to be stored; nil = the run exists, and is taken over
	prepare  func(ctx context.Context, s *access.Session) error // sets id or spec, which depend on what NATS holds; may be nil
	name     string                                             // of this orchestrator

	submitted uint64 // connection on which the run was submitted; 0 = it existed

	stop    context.CancelCauseFunc        // ends everything, with its reason
	session atomic.Pointer[access.Session] // set once the run is ours: from then on a signal cancels it
	report  *report.Report                 // the last one; nil = the run never began
}

const (
	// lastPatience bounds what follows the second signal.
	lastPatience = 15 * time.Second
	// closingPatience bounds what is done for a run after its context ended.
	closingPatience = 10 * time.Second
)

var (
	errStopped = errors.New("stopped before the run had ended")
	errAway    = errors.New("NATS is away")
)

// Run runs the run to its end, and returns its report with the exit code of its
// verdict. The report is nil when the run never began.
func (r *runner) Run(ctx context.Context) (*report.Report, error) {
	defer r.progress.Close()
	w := &wiring{
		app: r.app, open: r.connect, worker: r.newWorker, decide: r.orchestrate, conclude: r.conclude,
		watch: r.watchSignals, verdict: r.verdict, workerTTL: r.options.workerTTL,
	}
	err := w.Run(ctx)
	return r.report, err
}

// conclude shows the report, writes it where it is wanted, and returns the exit
// code of the run's verdict. Without a report err is all that is known of the run.
func (r *runner) conclude(ctx context.Context, s *access.Session, err error) error {
	if r.report == nil {
		return err
	}
	r.progress.End(r.report)
	if derr := r.deliver(r.report); derr != nil {
		err = errors.Join(derr, err)
	}
	if err == nil {
		err = exit.With(verdictOf(context.WithoutCancel(ctx), s.Conn, r.report).code())
	}
	return err
}

// verdict is the signal that ended the run before it had a report, if one did,
// else err.
func (r *runner) verdict(cause, err error) error {
	if sig, ok := errors.AsType[exit.SignalError](cause); ok && r.report == nil {
		return sig
	}
	return err
}

// sweepPatience bounds the sweep of a store that only runs use. The next run
// sweeps the rest.
const sweepPatience = 5 * time.Second

// sweep drops the logs of old runs from the workspace's store, beside the run.
// On other stores, the orchestrators that serve do so. wait returns when the sweep is over.
func (r *runner) sweep(ctx context.Context, s *access.Session) (wait func()) {
	if s.Server == nil || s.Store.Temporary {
		return func() {}
	}
	ctx, stop := context.WithTimeout(ctx, sweepPatience)
	var g sync.WaitGroup
	g.Go(func() {
		if _, err := orchestrator.Sweep(ctx, s.Conn, orchestrator.Retention{}); err != nil && ctx.Err() == nil {
			r.progress.Logger().Warn("logs of old runs are not dropped", "error", err)
		}
	})
	return func() {
		g.Wait()
		stop()
	}
}

// orchestrate takes the right to decide for the run, stores it if it is new,
// and follows it to its end. It sets the report.
func (r *runner) orchestrate(ctx context.Context, s *access.Session) error {
	defer r.sweep(ctx, s)()
	created := r.watchCreated(ctx, s)
	lease, err := r.acquireOrSubmit(ctx, s)
	created.begin(r.spec, r.storeDir)
	if err != nil {
		return err
	}
	// The graph lives on in the log, and in its folds.
	r.spec = nil
	r.session.Store(s)
	if r.report, err = r.follow(ctx, s, lease); err == nil {
		if text := created.end(ctx); text != "" {
			r.progress.Logger().Warn(text)
		}
	}
	return err
}

// acquireOrSubmit takes the right to decide for the run: it takes the run over,
// or submits it.
func (r *runner) acquireOrSubmit(ctx context.Context, s *access.Session) (*kv.RunLease, error) {
	if r.prepare != nil {
		if err := r.prepare(ctx, s); err != nil {
			return nil, err
		}
	}
	r.name = ident.OnHost()
	if r.spec == nil {
		return r.takeOver(ctx, s)
	}
	if err := r.options.secrets.Source().OfRun(r.spec).Check(); err != nil {
		return nil, exit.Usagef("%w", err)
	}
	exists := exit.NotFoundf("run %s exists already: choose another --run-id, or leave it out", r.id)
	lease, err := orchestrator.Acquire(ctx, s.Conn, r.id, r.name)
	if errors.Is(err, kv.ErrHeld) {
		return nil, exists
	}
	if err != nil {
		return nil, err
	}
	r.submitted = s.Conn.Connection()
	if err := client.New(s.Conn).Submit(ctx, r.spec); err != nil {
		if errors.Is(err, client.ErrExists) {
			_ = lease.Release(ctx) // else it expires
			return nil, exists
		}
		return nil, fmt.Errorf("submit run %s: %w", r.id, err)
	}
	return lease, nil
}

// connect connects, and finds out which repository the worker here serves.
func (r *runner) connect(ctx context.Context, stop context.CancelCauseFunc) (*access.Session, error) {
	r.stop = stop
	s, err := r.reach(ctx)
	if err != nil || s.Server != nil && r.options.Listen == "" {
		return s, err
	}
	// Other runs can reach the worker here. It serves those of its repository.
	if r.repository, err = repositoryOf(ctx, r.workspace, r.repository); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// reach connects to the server that the settings name, to the process that
// serves the store, or embeds a server. It notes where the run is.
func (r *runner) reach(ctx context.Context) (*access.Session, error) {
	t, remote, err := r.app.nats.Named()
	if err != nil {
		return nil, err
	}
	if !remote {
		s, err := r.embed(ctx)
		if served, ok := errors.AsType[*store.ServedError](err); ok {
			s, err = r.joinServed(ctx, served)
		}
		return s, err
	}
	if r.options.Listen != "" {
		return nil, exit.Usagef("--listen is for the embedded server, and %s names %s", t.Origin, t.Shown())
	}
	if err := r.offersNothing(fmt.Sprintf("%s names %s", t.Origin, t.Shown())); err != nil {
		return nil, err
	}
	r.progress.Note("%s%s", t.Describe(), localText(r.options.local))
	c, err := r.app.sessions.Dial(ctx, t, r.app.set.ConnectTimeout, r.progress.Logger())
	if err != nil {
		return nil, err
	}
	return &access.Session{Conn: c}, nil
}

// offersNothing refuses flags of the worker inside this process when the command
// starts no such worker. where is the reason.
func (r *runner) offersNothing(where string) error {
	if r.options.local > 0 {
		return nil
	}
	for _, flag := range flags.OfferNames() {
		if r.app.bind.Origin[flag] == "--"+flag {
			return exit.Usagef("--%s is for a worker inside this process, and this run has no such worker: %s; add --local N, or give it to the workers", flag, where)
		}
	}
	return nil
}

func localText(slots int) string {
	if slots == 0 {
		return ""
	}
	return fmt.Sprintf(", and %s here", phrase.Count(slots, "slot"))
}

// newWorker returns the worker inside this process; nil = none.
func (r *runner) newWorker(s *access.Session) (*worker.Worker, error) {
	slots := r.options.local
	if s.Server != nil {
		slots = r.options.slots()
	}
	if slots == 0 {
		return nil, nil
	}
	functions, err := functions(r.app)
	if err != nil {
		return nil, err
	}
	cfg := worker.Config{
		Functions: functions, Secrets: r.options.secrets.Source(),
		Name: r.workerName(s), Slots: slots, Workspace: r.workspace, PassAll: true,
		Version: version(), Logger: r.progress.Logger(), Alone: s.Alone(), Repository: r.repository,
	}
	cfg.Files = machineFiles(s.Conn, "", 0, slots)
	applyOffers(&r.options.Offers, &cfg)
	return worker.New(s.Conn, cfg)
}

// inPlace is the directory in which attempts run, unless the run is isolated: that
// of the worker inside this process, where no other worker can take them.
func (r *runner) inPlace(s *access.Session) string {
	if s.Server == nil || r.options.Listen != "" {
		return ""
	}
	return r.workspace
}

// workerName is "local" where no other worker can have that name.
func (r *runner) workerName(s *access.Session) string {
	if s.Server != nil && r.options.Listen == "" {
		return "local"
	}
	return ""
}

// follow runs the orchestrator and shows the run until it has ended. Without
// a report, the error is all that is known of the run.
func (r *runner) follow(ctx context.Context, s *access.Session, lease *kv.RunLease) (*report.Report, error) {
	g, gctx := errgroup.WithContext(ctx)
	watching, end := context.WithCancel(gctx)
	defer end()
	var rep *report.Report
	r.estimate(gctx, s)
	feed := client.NewFeed()
	g.Go(func() error {
		defer feed.Close()
		_, err := orchestrator.Run(gctx, s.Conn, r.id, orchestrator.Config{
			Name: r.name, Lease: lease,
			Logger: r.progress.Logger(), WorkerTTL: r.options.workerTTL, Fleet: r.progress.Event,
			Alone: s.Server != nil && r.options.Listen == "", Submitted: r.submitted,
			Observe: feed.Observe, InPlace: r.inPlace(s), Secrets: r.options.secrets.Source(),
		})
		if errors.Is(err, orchestrator.ErrSuperseded) {
			r.progress.Note("%v; following it", err)
			return nil
		}
		return err
	})
	g.Go(func() (err error) {
		defer end()
		rep, err = client.New(s.Conn).Follow(gctx, r.id, client.FollowOptions{Sink: r.progress.Event, Output: true, Feed: feed})
		return err
	})
	if s.Server == nil {
		g.Go(func() error {
			r.watchConnection(watching, s.Conn)
			return nil
		})
	}
	err := g.Wait()
	if err == nil && rep != nil {
		return rep, nil
	}
	return r.giveUp(ctx, s, err)
}

// estimatePatience bounds the wait for estimates, which a run can do without.
const estimatePatience = 2 * time.Second

// estimate gives a progress that shows it how long modules usually take.
func (r *runner) estimate(ctx context.Context, s *access.Session) {
	p, ok := r.progress.(progress.Estimator)
	if !ok {
		return
	}
	ctx, stop := context.WithTimeout(ctx, estimatePatience)
	defer stop()
	if known, err := client.New(s.Conn).Durations(ctx, r.pipeline); err == nil {
		p.Estimates(known.Took)
	}
}

// watchConnection notes when the connection is lost and found. It ends everything
// when the connection is lost for too long.
func (r *runner) watchConnection(ctx context.Context, c *broker.Conn) {
	limit := r.options.reconnect
	connect.Watch(ctx, c.Conn, limit,
		func() {
			r.progress.Note("the connection to NATS is lost; trying again for %s", jobs.ShortDuration(limit))
		},
		func() { r.progress.Note("connected to NATS again, at %s", redact.URLs(c.URL())) },
		func() { r.stop(errAway) })
}

// giveUp returns the last report, and the error, of a run that this process no longer follows.
func (r *runner) giveUp(ctx context.Context, s *access.Session, err error) (*report.Report, error) {
	cause := context.Cause(ctx)
	if errors.Is(cause, errAway) {
		return nil, exit.Infrastructuref("NATS has been away for %s; what workers are running goes on, and is kept with the run's log when NATS is back,\n"+
			"but nothing new of run %s starts before an orchestrator takes it over: `orchestrator resume %s`, or one that serves", jobs.ShortDuration(r.options.reconnect), r.id, r.id)
	}
	if cause != nil && ctx.Err() != nil {
		err = cause
	}
	if err == nil {
		err = errStopped
	}
	if errors.Is(err, natsembed.ErrStoreGone) || errors.As(err, new(*broker.GoneError)) {
		return nil, err // there is nothing to report from
	}
	last, end := context.WithTimeout(context.WithoutCancel(ctx), closingPatience)
	defer end()
	rep, rerr := client.New(s.Conn).Show(last, r.id)
	if rerr != nil {
		return nil, err
	}
	return rep, err
}

// verdictOf adds to a report the cancellation of the run.
func verdictOf(ctx context.Context, c *broker.Conn, rep *report.Report) verdict {
	v := verdict{report: rep}
	if rep.Status != report.RunCancelled {
		return v
	}
	ctx, stop := context.WithTimeout(ctx, closingPatience)
	defer stop()
	v.cancel, _ = client.New(c).Cancellation(ctx, jobs.RunID(rep.Run)) // without it the verdict is a plain cancellation
	return v
}

// watchSignals handles signals until done. Before the run is acquired,
// the first ends the process. Afterwards the first cancels the run in order, the
// second without grace, and the third ends the process. Notes about this are
// written beside it: the terminal may be stopped.
func (r *runner) watchSignals(ctx context.Context, c *control, done <-chan struct{}) {
	var answers errgroup.Group
	defer func() { _ = answers.Wait() }() // they have reported their errors
	var timers []*time.Timer
	defer func() {
		for _, t := range timers {
			t.Stop()
		}
	}()
	eachSignal(r.app.Signals, done, func(n int, sig os.Signal) (more bool) {
		s := r.session.Load()
		switch {
		case s == nil && n == 1:
			c.stop(exit.SignalError{Signal: sig})
		case s != nil && n <= 2:
			if n == 2 {
				timers = append(timers, time.AfterFunc(lastPatience, func() { c.stop(exit.SignalError{Signal: sig}) }))
			}
			answers.Go(func() error { r.progress.Note("%s", signalText(sig, n)); return nil })
			answers.Go(func() error { return r.cancel(ctx, s, sig) })
		default:
			closed := make(chan struct{})
			answers.Go(func() error { defer close(closed); r.progress.Close(); return nil })
			select {
			case <-closed:
			case <-time.After(progress.ClosePatience):
			}
			r.app.Exit(exit.SignalCode(sig))
			return false
		}
		return true
	})
}

func signalText(sig os.Signal, n int) string {
	if n == 1 {
		return exit.SignalName(sig) + ": cancelling the run; always-run modules still run. Once more ends those too"
	}
	return exit.SignalName(sig) + ": ending everything. Once more leaves immediately"
}

func (r *runner) cancel(ctx context.Context, s *access.Session, sig os.Signal) error {
	err := client.New(s.Conn).Cancel(ctx, r.id, jobs.Cancel{
		ID: ident.New(), By: bySignal, Reason: exit.SignalError{Signal: sig}.Error(),
	})
	if errors.Is(err, broker.ErrNotFound) {
		r.stop(s.Conn.Runs.Gone(r.id))
		return err
	}
	if err != nil && !errors.Is(err, client.ErrEnded) && ctx.Err() == nil {
		r.progress.Note("cancel the run: %v", err)
	}
	return err
}
