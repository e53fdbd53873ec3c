package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/natsprobe"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// Free capacity that an account and a server need.
const (
	goodPayload    = 1 << 20
	leastStorage   = 64 << 20
	goodStorage    = 1 << 30
	leastConsumers = 8
	goodConsumers  = 64
	clockApart     = time.Second
	clockFar       = time.Minute
	streamFull     = 0.9 // share of the limit of a stream that refuses more
)

func (d *doctor) examineReach(ctx context.Context) bool {
	type answer struct {
		facts natsprobe.Server
		err   error
	}
	a := within(ctx, func(ctx context.Context) answer {
		f, err := d.probe.Server(ctx)
		return answer{f, err}
	})
	if a.err != nil {
		d.fault("server", "the server accepts the connection but does not answer: check its log and load", "%v", a.err)
		return false
	}
	f := a.facts
	text := fmt.Sprintf("nats-server %s", f.Version)
	if f.Name != "" && f.Name != "modpipe-embedded" {
		text += " (" + phrase.Shorten(f.Name, 24)
		if f.Cluster != "" {
			text += ", cluster " + f.Cluster
		}
		text += ")"
	}
	text += fmt.Sprintf(", round trip %s", roundTrip(f.RoundTrip))
	version, _, _ := strings.Cut(f.Version, "-")
	switch {
	case jobs.CompareVersions(version, natsprobe.LeastServer) < 0:
		d.fault("server", "update nats-server to "+natsprobe.LeastServer+" or newer: buckets need limits of age that leave markers", "%s", text)
	case f.RoundTrip > 200*time.Millisecond:
		d.warn("server", "every hop of a chain of modules takes several round trips: run orchestrator and workers nearer to the server", "%s", text)
	default:
		d.ok("server", "%s", text)
	}
	d.examinePayload(f.MaxPayload)
	return true
}

func roundTrip(t time.Duration) string {
	switch {
	case t < 100*time.Microsecond:
		return "less than 0.1 ms"
	case t < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(t)/float64(time.Millisecond))
	}
	return t.Round(time.Millisecond).String()
}

func (d *doctor) examinePayload(most int64) {
	text := fmt.Sprintf("messages of up to %s (max_payload)", phrase.Bytes(most))
	switch {
	case most < jetstream.LeastPayload:
		d.fault("payload", "raise max_payload to 1MB: modpipe does not work with less than 128 KiB", "%s", text)
	case most < goodPayload:
		d.warn("payload", "raise max_payload to 1MB: larger results go through the object store, which is slower", "%s", text)
	default:
		d.ok("payload", "%s", text)
	}
}

func (d *doctor) examineJetStream(ctx context.Context) bool {
	err := within(ctx, d.probe.JetStream)
	if err == nil {
		d.ok("jetstream", "on")
		return true
	}
	advice := "start nats-server with -js (or jetstream {} in its configuration), and enable it for the account"
	if isDenied(err) {
		advice = "this user may not subscribe its own inbox: allow it to subscribe " + cmp.Or(d.Target.Inbox, "_INBOX") + ".>, or name the prefix that it may (--inbox-prefix)"
	} else if errors.Is(err, context.DeadlineExceeded) {
		advice = d.conn.URL() + " answers pings but JetStream does not: the log of that server says why; a cluster needs more than half of its servers"
	}
	d.fault("jetstream", advice, "%s", phrase.FirstLine(err.Error(), 300))
	return false
}

func (d *doctor) examineLimits(ctx context.Context) {
	type answer struct {
		facts natsprobe.Account
		err   error
	}
	a := within(ctx, func(ctx context.Context) answer {
		f, err := d.probe.Account(ctx, 0)
		return answer{f, err}
	})
	if a.err != nil {
		if isDenied(a.err) {
			d.ok("limits", "not known: this user may not ask for them ($JS.API.INFO)")
			return
		}
		d.warn("limits", "ask again when the server is less busy", "not known: %v", a.err)
		return
	}
	f := a.facts
	missing := 0
	for i := range d.assets {
		if errors.Is(d.assets[i].Err, broker.ErrNotFound) {
			missing++
		}
	}
	text := phrase.Join(", ", "streams "+limitText(int64(f.Streams), int64(f.MaxStreams), plainNumber),
		"consumers "+limitText(int64(f.Consumers), int64(f.MaxConsumers), plainNumber),
		"storage "+limitText(f.Storage, f.MaxStorage, phrase.Bytes), "memory "+limitText(f.Memory, f.MaxMemory, phrase.Bytes))
	var faults, warnings []string
	short := func(what string, used, most, least, good int64) {
		switch left := most - used; {
		case most < 0 || left >= good:
		case left < least:
			faults = append(faults, what)
		default:
			warnings = append(warnings, what)
		}
	}
	short(fmt.Sprintf("streams: %d are still to be made", missing), int64(f.Streams), int64(f.MaxStreams), int64(missing), int64(missing))
	short("consumers: one for each lane, and one for each reader of a log or a bucket", int64(f.Consumers), int64(f.MaxConsumers), leastConsumers, goodConsumers)
	short("storage: jobs, logs of runs and artifacts", f.Storage, f.MaxStorage, leastStorage, goodStorage)
	short("memory: the registry of workers", f.Memory, f.MaxMemory, 1<<20, 16<<20)
	switch {
	case len(faults) > 0:
		d.fault("limits", "raise the account's limit of "+strings.Join(append(faults, warnings...), "\nraise the account's limit of "), "%s", text)
	case len(warnings) > 0:
		d.warn("limits", "soon there is not enough of "+strings.Join(warnings, "\nsoon there is not enough of "), "%s", text)
	default:
		d.ok("limits", "%s", text)
	}
}

func limitText(used, most int64, show func(int64) string) string {
	if most < 0 {
		return show(used) + " (no limit)"
	}
	return show(used) + " of " + show(most)
}

func plainNumber(n int64) string { return fmt.Sprint(n) }

// examinePermissions tries the operations of an orchestrator and a worker.
func (d *doctor) examinePermissions(ctx context.Context) {
	trials := within(ctx, func(ctx context.Context) []natsprobe.Trial { return d.probe.Trials(ctx) })
	var orchestrator, worker, silent []string
	tried := len(trials)
	for _, t := range trials {
		switch {
		case t.Err == nil:
		case !isDenied(t.Err):
			silent = append(silent, t.Subject+" ("+t.What+"): "+t.Err.Error())
		case t.Worker:
			worker = append(worker, t.Subject+" ("+t.What+")")
		default:
			orchestrator = append(orchestrator, t.Subject+" ("+t.What+")")
		}
	}
	for i := range d.assets {
		if !errors.Is(d.assets[i].Err, broker.ErrNotFound) {
			continue
		}
		tried++
		name := d.assets[i].Name
		if err := within(ctx, func(ctx context.Context) error { return d.probe.MayCreate(ctx, name) }); isDenied(err) {
			orchestrator = append(orchestrator, "create "+name+", which does not exist: "+err.Error())
		}
	}
	const permit = "ask the operator of NATS to allow this user the named subjects, or to create what is missing"
	switch {
	case len(orchestrator) > 0:
		d.fault("permissions", permit, "denied: %s", strings.Join(orchestrator, "; "))
	case len(silent) > 0:
		d.warn("permissions", "without an answer nothing is known: is the server overloaded, or does a cluster elect a leader?", "no answer: %s", phrase.Few(silent, 3))
	default:
		d.ok("permissions", "%d operations tried, none is denied", tried)
	}
	if len(worker) > 0 {
		d.warn("worker permissions", "this does not matter when workers have another user; else allow this user the named subjects",
			"a worker could not work with this user; denied: %s", strings.Join(worker, "; "))
	}
}

// examineStreams compares streams, buckets and lanes with the ones that this version
// creates.
func (d *doctor) examineStreams(ctx context.Context) {
	var breaks, others, missing, unknown, room []string
	for i := range d.assets {
		a := &d.assets[i]
		switch {
		case errors.Is(a.Err, broker.ErrNotFound):
			missing = append(missing, a.Name)
		case a.Err != nil:
			unknown = append(unknown, a.Name)
		case a.Refuses && float64(a.Bytes) > streamFull*float64(a.MaxBytes):
			breaks = append(breaks, fmt.Sprintf("%s is full: %s of %s", a.Name, phrase.Bytes(a.Bytes), phrase.Bytes(a.MaxBytes)))
		case a.MaxBytes > 0:
			room = append(room, fmt.Sprintf("%s %s of %s", a.Name, phrase.Bytes(a.Bytes), phrase.Bytes(a.MaxBytes)))
		}
		for _, diff := range a.Differences {
			if diff.Breaks {
				breaks = append(breaks, a.Name+": "+diff.Text)
			} else {
				others = append(others, a.Name+": "+diff.Text)
			}
		}
	}
	lanes := d.laneDifferences(ctx, &breaks, &others)
	text := phrase.Join(", ", fmt.Sprintf("%d of %d streams and buckets are there", len(d.assets)-len(missing)-len(unknown), len(d.assets)), lanes)
	if !d.Remote {
		text = "they can be made"
	} else if len(missing) > 0 {
		text += "; the first run makes " + strings.Join(missing, ", ")
	}
	if len(unknown) > 0 {
		text += "; not to be seen: " + strings.Join(unknown, ", ")
	}
	if len(room) > 0 {
		text += "; used: " + strings.Join(room, ", ")
	}
	const change = "change it with `nats stream edit` or `nats consumer edit`; or delete it while nothing runs, and the next run makes it as it should be"
	switch {
	case len(breaks) > 0:
		d.fault("streams", change, "%s", phrase.Few(append(breaks, others...), 5))
	case len(others) > 0:
		d.warn("streams", "if that is not meant so: "+change, "%s", phrase.Few(others, 5))
	default:
		d.ok("streams", "%s", text)
	}
}

func (d *doctor) laneDifferences(ctx context.Context, breaks, others *[]string) string {
	ctx, stop := context.WithTimeout(ctx, doctorStep)
	defer stop()
	n, found, err := d.probe.Lanes(ctx)
	if err != nil {
		return ""
	}
	for _, diff := range found {
		if diff.Breaks {
			*breaks = append(*breaks, diff.Text)
		} else {
			*others = append(*others, diff.Text)
		}
	}
	return phrase.Count(n, "lane")
}

// examineRegistry checks the bucket of workers. Its limit of age decides how soon a loss
// is noticed.
func (d *doctor) examineRegistry() {
	for i := range d.assets {
		a := &d.assets[i]
		if a.Err != nil || !strings.HasSuffix(a.Name, "-workers") {
			continue
		}
		text := fmt.Sprintf("a worker that is silent for %s is lost", jobs.ShortDuration(a.TTL))
		switch {
		case a.TTL == 0:
			d.fault("registry", "delete the bucket "+a.Name+" while no worker runs; --worker-ttl says how it is made", "entries of workers never end: a loss is never noticed")
		case a.TTL < time.Second || a.TTL > 10*time.Minute:
			d.warn("registry", "delete the bucket "+a.Name+" while no worker runs; --worker-ttl (1s to 10m) says how it is made", "%s", text)
		default:
			d.ok("registry", "%s", text)
		}
	}
}

func (d *doctor) examineClock(ctx context.Context) {
	ctx, stop := context.WithTimeout(ctx, doctorStep)
	defer stop()
	ahead, exact, err := d.probe.Clock(ctx)
	switch {
	case errors.Is(err, broker.ErrNotFound):
		d.ok("clock", "not compared: the server tells its time with a stream, and has no stream yet")
		return
	case err != nil:
		d.warn("clock", "compare the clocks by hand", "not compared: %v", err)
		return
	}
	apart, way := ahead, "ahead of"
	if ahead < 0 {
		apart, way = -ahead, "behind"
	}
	text := fmt.Sprintf("this machine is %s %s the server, give or take %s", roundTrip(apart), way, roundTrip(exact))
	if apart <= exact {
		text = fmt.Sprintf("this machine and the server agree, give or take %s", roundTrip(exact))
	}
	const mean = "synchronise the clocks (NTP): deadlines, waiting times and durations are off by as much; leases are not, they are counted on one machine each"
	switch {
	case apart-exact > clockFar:
		d.fault("clock", mean, "%s", text)
	case apart-exact > clockApart:
		d.warn("clock", mean, "%s", text)
	default:
		d.ok("clock", "%s", text)
	}
}

func (d *doctor) readWorkers(ctx context.Context) {
	if !d.Remote {
		return
	}
	ctx, stop := context.WithTimeout(ctx, doctorStep)
	defer stop()
	workers, err := kv.Workers(ctx, d.conn.Conn)
	if err != nil {
		d.warn("workers", "see the permissions above", "they cannot be read: %v", err)
		return
	}
	d.workers, d.counted = workers, true
	if len(workers) == 0 {
		d.warn("workers", "start one on each machine that shall work: worker --server "+d.Target.Shown()+"\nor run modules in the process of the run: run --local N",
			"none: a run would wait, and its modules fail after their queue-timeout")
		return
	}
	var names, odd []string
	var unable []string
	slots, used, draining := 0, 0, 0
	for i := range workers {
		w := &workers[i]
		slots, used = slots+w.Slots, used+w.Used
		names = append(names, fmt.Sprintf("%s (%d/%d)", w.Name, w.Used, w.Slots))
		if w.Draining {
			draining++
		}
		if w.Unable != "" {
			unable = append(unable, w.Name+": "+w.Unable)
		}
		if w.Version != d.Version {
			odd = append(odd, w.Name+" "+cmp.Or(w.Version, "of an unknown version"))
		}
	}
	text := fmt.Sprintf("%s with %s, %d used: %s", phrase.Count(len(workers), "worker"), phrase.Count(slots, "slot"), used, phrase.Few(names, 8))
	switch {
	case len(unable) > 0:
		d.warn("workers", "free what is missing there; the worker tries by itself and goes on", "%s; these cannot begin attempts: %s", text, phrase.Few(unable, 8))
	case len(odd) > 0:
		d.warn("workers", "run one version everywhere", "%s; this is %s, and different are: %s", text, d.Version, phrase.Few(odd, 8))
	case draining == len(workers):
		d.warn("workers", "start others: those that drain take nothing new", "%s; all of them drain", text)
	default:
		d.ok("workers", "%s", text)
	}
}

func isDenied(err error) bool { return errors.Is(err, broker.ErrDenied) }
