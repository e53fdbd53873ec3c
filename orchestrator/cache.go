package orchestrator

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/fingerprint"
	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// cache connects a run to the cached results that all runs share. It opens the
// bucket when the run looks its first module up.
type cache struct {
	conn      *broker.Conn
	cfg       Config
	policy    jobs.CachePolicy
	files     *inputs
	place     string // of attempts in place; "" = none
	namespace string
	reads     []string // namespaces
	flights   locks.Flights

	wanted  chan struct{} // closed when the run looks its first module up
	opened  chan struct{} // closed when the bucket is open, or denied
	bucket  *kv.Cache     // set before opened is closed; nil = it may not be used
	wanting sync.Once

	checking sync.Mutex // held while artifacts are compared with what a worker says

	mu     sync.Mutex
	full   bool                      // the run was told that results cannot be stored
	known  map[jobs.AttemptID]*known // attempts that run, or are about to
	denied map[string]bool           // namespaces in which an entry could not be renewed
}

// known is what a lookup has found out about an attempt that runs.
type known struct {
	print  fingerprint.Print
	inputs jobs.Tree
	flight bool // it has the flight
}

func newCache(c *broker.Conn, cfg Config, spec *jobs.Spec, epoch, fencing uint64, ask locks.Inquiry) *cache {
	policy := spec.Cache
	if cfg.Namespace != "" {
		policy.Namespace, policy.From = cfg.Namespace, cfg.From
	}
	files := newInputs(c, spec, cfg.InPlace, policy.Writes())
	return &cache{
		conn: c, cfg: cfg, policy: policy, files: files, place: workspace.Place(files.dir), namespace: policy.Writes(), reads: policy.Reads(),
		flights: locks.Flights{
			Taker: &locks.Taker{
				Run: spec.Run, Epoch: epoch, Logs: otherLogs{c, cfg.Name, fencing}, Clock: wall{}, Ask: ask, Logger: cfg.Logger, Ungranted: true,
			},
			Namespace: policy.Writes(), Reads: !policy.NoRead && !policy.Refresh, Takes: !policy.NoWrite,
			Unusable: func(err error) bool {
				return errors.Is(err, broker.ErrFull) || errors.Is(err, broker.ErrDenied) || errors.Is(err, errNoFlights)
			},
		},
		wanted: make(chan struct{}), opened: make(chan struct{}), known: map[jobs.AttemptID]*known{},
	}
}

// open returns true when the bucket is open, and false when ctx has ended.
func (k *cache) open(ctx context.Context) bool {
	k.wanting.Do(func() { close(k.wanted) })
	select {
	case <-k.opened:
		return true
	case <-ctx.Done():
		return false
	}
}

// watchFlights waits until the run looks its first module up, and opens the bucket.
// Then it notifies the dispatcher of flights that were given back.
func (l *loop) watchFlights(ctx context.Context) error {
	k := l.cache
	select {
	case <-k.wanted:
	case <-ctx.Done():
		return nil
	}
	var err error
	k.bucket, err = kv.OpenCache(ctx, k.conn.Conn)
	if errors.Is(err, broker.ErrDenied) {
		k.cfg.Logger.Warn("the bucket of cached results cannot be used; modules run without the cache", "error", err)
		k.bucket = nil
		close(k.opened)
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the bucket of cached results: %w", err)
	}
	leases, err := kv.OpenLeases(ctx, k.conn.Conn)
	if err != nil {
		return fmt.Errorf("open the bucket of leases: %w", err)
	}
	k.flights.Taker.Bucket = &patientFlights{Bucket: k.bucket.Flights(), connected: k.conn.Connected, log: k.cfg.Logger}
	k.flights.Taker.Leases = otherLeases{leases, k.cfg.Name, k.cfg.Logger}
	close(k.opened)
	return k.bucket.Flights().Watch(ctx, func(name string) {
		l.answer(ctx, func() { l.dispatcher.FlightFree(name) })
	})
}

// lookUp looks the result of an attempt up, and on a miss takes its flight.
func (l *loop) lookUp(ctx context.Context, a schedule.Lookup) {
	found, by, err := l.cache.lookUp(ctx, l.state.Spec(), a)
	if err != nil {
		l.fail(ctx, fmt.Errorf("look module %s up in the cache: %w", a.ID.Module, err))
		return
	}
	l.answer(ctx, func() {
		l.dispatcher.Looked(a, found)
		l.notifyFlight(a, by)
	})
}

// notifyFlight sends an event when a module begins to wait for the result that
// another one produces.
func (l *loop) notifyFlight(a schedule.Lookup, by *locks.Refusal) {
	if by == nil {
		delete(l.waits, a.Node)
		return
	}
	if l.waits[a.Node] == *by {
		return
	}
	l.waits[a.Node] = *by
	l.notify(report.Event{
		Event: report.EventWaiting, Module: l.state.Module(a.Node).Name,
		Missing: fmt.Sprintf("the same result, which %s of run %s is producing", by.By.Module, by.By.Run),
	})
}

// lookUp answers a.
func (k *cache) lookUp(ctx context.Context, spec *jobs.Spec, a schedule.Lookup) (schedule.Found, *locks.Refusal, error) {
	if !k.open(ctx) {
		return schedule.Found{}, nil, context.Cause(ctx)
	}
	if k.bucket == nil {
		return schedule.Found{}, nil, nil
	}
	this, ok := k.print(ctx, spec, a)
	if !ok {
		return schedule.Found{}, nil, nil
	}
	found, held, by, err := k.flights.LookUp(ctx, a, this.print.Sum, results{k, this})
	if err == nil && found.Hit == nil && found.Busy == "" {
		this.flight = held
		k.mu.Lock()
		defer k.mu.Unlock()
		k.known[a.ID] = this
	}
	return found, by, err
}

// print computes the fingerprint. It reports false when the module runs without the
// cache.
func (k *cache) print(ctx context.Context, spec *jobs.Spec, a schedule.Lookup) (*known, bool) {
	this := &known{}
	if globs := a.Module.Cache.Inputs; len(globs) > 0 {
		if a.Adopt && k.files.dir != "" { // files may have changed since the attempt began
			return nil, false
		}
		var err error
		if this.inputs, err = k.files.now(ctx, globs); err != nil {
			if ctx.Err() == nil {
				k.cfg.Logger.Warn("hashing the inputs of a module failed; it runs without the cache", "run", spec.Run, "module", a.Module.Name, "error", err)
			}
			return nil, false
		}
	}
	this.print = fingerprint.Of(fingerprint.Input{Module: a.Module, Job: a.Job, Key: a.Key, Inputs: this.inputs.Root})
	return this, true
}

// results are the stored results of the fingerprint that an attempt has.
type results struct {
	cache *cache
	this  *known
}

// Read returns the outcome that a cached result gives a module, or nil. An entry
// that cannot be used is a miss.
func (r results) Read(ctx context.Context, a schedule.Lookup, sum string) *jobs.Outcome {
	k := r.cache
	for _, namespace := range k.reads {
		e, err := k.bucket.Read(ctx, namespace, sum)
		if err == nil {
			err = k.usable(ctx, &e.CacheEntry, a)
		}
		if err == nil {
			k.renew(ctx, e)
			return &jobs.Outcome{
				Status: report.AttemptSucceeded, By: "orchestrator", Outputs: e.Outputs, Artifacts: e.Artifacts, Cached: e.Cached(namespace),
			}
		}
		if !errors.Is(err, broker.ErrNotFound) && ctx.Err() == nil {
			k.cfg.Logger.Info("a cached result cannot be used", "module", a.Module.Name, "namespace", namespace, "fingerprint", sum, "reason", err)
		}
	}
	return nil
}

// renewPatience bounds the renewal of an entry: nothing depends on it, and NATS may deny
// it for ever.
const renewPatience = 5 * time.Second

// renews reports whether a use of an entry in a namespace extends its life: in that of
// the run, and in those from which the run reads, unless this orchestrator is confined
// to one.
func (k *cache) renews(namespace string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return (namespace == k.namespace || k.cfg.Namespace == "") && !k.denied[namespace]
}

// notRenewed notes that an entry could not be renewed.
func (k *cache) notRenewed(namespace, what string, err error) {
	k.cfg.Logger.Debug("renewing a cache entry failed", "namespace", namespace, "entry", what, "error", err)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.denied == nil {
		k.denied = map[string]bool{}
	}
	k.denied[namespace] = true
}

// renew keeps an entry that was used, and its log. Its other content was renewed
// when it was found, or lives as long as the entry.
func (k *cache) renew(ctx context.Context, e kv.StoredEntry) {
	if !k.renews(e.Namespace) {
		return
	}
	ctx, stop := context.WithTimeout(ctx, renewPatience)
	defer stop()
	renewed, err := k.bucket.Renew(ctx, e, time.Now())
	if err != nil {
		k.notRenewed(e.Namespace, e.Fingerprint, err)
	}
	if renewed {
		k.renewLog(ctx, e.Namespace, e.Log)
	}
}

// usable returns why an entry cannot serve as the result of a module.
func (k *cache) usable(ctx context.Context, e *jobs.CacheEntry, a schedule.Lookup) error {
	if !e.Hermetic && !k.works(ctx, e.Place, a) {
		return errors.New("its attempt found files that it had not declared, in another place")
	}
	if err := fits(e, a.Module.Outputs, a.Job); err != nil {
		return err
	}
	if ref := e.Outputs.Ref; e.Outputs.ByRef() {
		if err := k.conn.Values.Renew(ctx, ref); err != nil {
			return fmt.Errorf("its outputs are gone: %w", err)
		}
	}
	for _, x := range e.Artifacts {
		complete, err := k.files.keep(ctx, x.Tree)
		if err != nil {
			return fmt.Errorf("the files of its artifact %s: %w", x.Name, err)
		}
		if !complete {
			return fmt.Errorf("the files of its artifact %s are gone", x.Name)
		}
	}
	return nil
}

// works reports whether an attempt of a module may run in a place: modules of this run
// run there, or a worker that could take the module works there.
func (k *cache) works(ctx context.Context, place string, a schedule.Lookup) bool {
	switch {
	case place == "" || k.files.isolated:
		return false
	case place == k.place:
		return true
	}
	workers, err := kv.Workers(ctx, k.conn.Conn)
	return err == nil && slices.ContainsFunc(workers, func(w jobs.WorkerInfo) bool {
		return w.Place == place && !w.Draining && w.Unable == "" && w.Capabilities.Offer(a.Module.Requires)
	})
}

// fits returns why an entry does not have the form of a module's result.
func fits(e *jobs.CacheEntry, declared []string, job *jobs.Job) error {
	if typed := job.Func != nil && job.Command == nil; typed != (e.Outputs.Kind == jobs.ResultValue) {
		return errors.New("it has a result of another kind")
	}
	if e.Outputs.ByRef() && (!content.Digest(e.Outputs.Ref.SHA256).Valid() || e.Outputs.Ref.Bytes < 0 || e.Outputs.Ref.Bytes > jobs.MaxOutputs) {
		return errors.New("it refers to outputs that cannot exist")
	}
	if e.Log != (jobs.Blob{}) && (!isDigest(e.Log.SHA256) || e.Log.Bytes < 0 || e.Log.Bytes > 2*jobs.MaxCachedLog) {
		return errors.New("it refers to a log that cannot exist")
	}
	outputs, err := e.Outputs.Outputs()
	if err != nil {
		return err
	}
	for name := range outputs {
		if declared != nil && !slices.Contains(declared, name) {
			return fmt.Errorf("it has an output %.80q that the module does not declare", name)
		}
	}
	return fitArtifacts(e, job)
}

// fitArtifacts returns why the artifacts of an entry are not those of a module.
func fitArtifacts(e *jobs.CacheEntry, job *jobs.Job) error {
	var names []string
	if job.Files != nil {
		for _, p := range job.Files.Produce {
			names = append(names, p.Name)
		}
	}
	for _, x := range e.Artifacts {
		i := slices.Index(names, x.Name)
		if i < 0 {
			return fmt.Errorf("it has an artifact %.80q that the module does not produce, or twice", x.Name)
		}
		names = slices.Delete(names, i, i+1)
		if !isDigest(x.Tree.Root) || !isDigest(x.Tree.Manifest) || x.Tree.Files < 0 || x.Tree.Bytes < 0 || !jobs.ValidNamespace(x.Tree.Namespace) {
			return fmt.Errorf("its artifact %s names no tree", x.Name)
		}
	}
	return nil
}

func isDigest(s string) bool {
	sum, err := hex.DecodeString(s)
	return err == nil && len(sum) == 32
}

// Inherit stores the result of an attempt of another run. Its inputs are those of its
// own run's snapshot, which may differ from the files that its orchestrator saw.
func (r results) Inherit(ctx context.Context, state *schedule.Run, id jobs.AttemptID) {
	k, spec := r.cache, state.Spec()
	o, _ := state.OutcomeOf(id)
	m := state.ModuleOf(id.Module)
	if o == nil || m == nil || m.Cache == nil {
		return
	}
	var inputs jobs.Tree
	var err error
	if globs := m.Cache.Inputs; len(globs) > 0 {
		inputs, err = newInputs(k.conn, spec, "", k.namespace).taken(ctx, globs)
	}
	switch {
	case err != nil:
	case inputs.Root != r.this.inputs.Root:
		err = errors.New("its attempt found other inputs than its fingerprint covers")
	default:
		err = k.genuine(ctx, o.Artifacts)
	}
	if err == nil {
		e := entryOf(spec, m, o, r.this)
		e.When, e.Log = o.Finished, k.keepLog(ctx, spec.Run, id, o)
		err = k.bucket.Store(ctx, k.namespace, e)
	}
	if err != nil {
		k.cfg.Logger.Debug("storing the result of another run in the cache failed", "run", spec.Run, "module", m.Name, "error", err)
	}
}

func (k *cache) leaveFlight(ctx context.Context, id jobs.AttemptID, this *known) error {
	if !this.flight {
		return nil
	}
	return k.flights.GiveBack(ctx, id, this.print.Sum)
}
