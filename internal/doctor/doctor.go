package doctor

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/connect"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/natsprobe"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/roles"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// States of findings.
const (
	OK      = "ok"
	Warning = "warning" // runs work, but worse, or not everywhere
	Fault   = "fault"   // runs do not work
)

// Finding is the result of one check, as -o json prints it.
type Finding struct {
	Check  string `json:"check"`
	State  string `json:"state"`
	Found  string `json:"found"`
	Advice string `json:"advice"` // empty when the state is ok
}

// Diagnosis is the result of doctor, as -o json prints it.
type Diagnosis struct {
	Version  int       `json:"version"` // 1
	State    string    `json:"state"`   // the worst of the findings'
	Findings []Finding `json:"findings"`
}

const (
	doctorConnect = 10 * time.Second // when the settings name no limit
	doctorPatient = 25 * time.Second // for everything after the connection
	doctorStep    = 8 * time.Second  // for one question
)

// Table writes a line for each Finding, and its advice below.
func (d *Diagnosis) Table(w io.Writer, paint console.Painter) {
	wide := 0
	for _, f := range d.Findings {
		wide = max(wide, len(f.Check))
	}
	counts := map[string]int{}
	for _, f := range d.Findings {
		counts[f.State]++
		console.Writef(w, "%s %s  %s\n", healthColour(paint, f.State, phrase.Pad(f.State, len(Warning))), phrase.Pad(f.Check, wide), phrase.Indent(safetext.Text(f.Found)))
		for line := range strings.Lines(f.Advice) {
			console.Writef(w, "%s→ %s\n", strings.Repeat(" ", len(Warning)+wide+3), strings.TrimRight(line, "\n"))
		}
	}
	console.Writef(w, "\n%s: %d ok", phrase.Count(len(d.Findings), "check"), counts[OK])
	if n := counts[Warning]; n > 0 {
		console.Writef(w, ", %s", phrase.Count(n, "warning"))
	}
	if n := counts[Fault]; n > 0 {
		console.Writef(w, ", %s", phrase.Count(n, "fault"))
	}
	console.Writeln(w)
}

// healthColour colours text by a finding's state, in the colours of statuses.
func healthColour(p console.Painter, state, text string) string {
	return p.Status(map[string]string{OK: "succeeded", Warning: "retrying", Fault: "failed"}[state], text)
}

// Config configures the checks.
type Config struct {
	File     string // "" = none
	Pipeline *pipeline.Pipeline
	Store    string // the workspace's
	Target   connect.Target
	Remote   bool          // Target is the server; else doctor embeds one
	Asked    string        // the setting that requires an embedded server; "" = none
	As       roles.Role    // check whether the user has this role, and nothing else; "" = check everything
	Role     roles.Options // of As

	// Embed starts a server on a store that it closes; end stops both.
	Embed    func(ctx context.Context, st *store.Dir) (c *broker.Conn, end func(), err error)
	Serving  func(ctx context.Context, c *broker.Conn) (bool, error)          // reports whether an orchestrator serves
	Unkeyed  func(ctx context.Context, c *broker.Conn, run jobs.RunID) string // says why those that serve leave a run without their signing key; "" = they do not
	Detect   func(ctx context.Context) (jobs.Capabilities, error)             // finds what this machine offers
	Env      settings.Environment
	Program  string
	Version  string
	Replicas int           // of new streams
	Timeout  time.Duration // to connect; 0 = the doctor's own
}

// Diagnose runs all checks, one after the other.
func Diagnose(ctx context.Context, cfg Config) *Diagnosis {
	d := &doctor{Config: cfg}
	d.examine(ctx)
	return d.diagnosis()
}

// doctor runs all checks, one after the other.
type doctor struct {
	Config
	conn    *broker.Conn // nil = not connected
	probe   *natsprobe.Probe
	assets  []natsprobe.Asset
	workers []jobs.WorkerInfo
	counted bool // workers is known
	findings
}

// findings collects the findings of checks.
type findings struct{ list []Finding }

// diagnosis returns all findings and the worst state among them.
func (f *findings) diagnosis() *Diagnosis {
	state := OK
	for _, found := range f.list {
		switch {
		case found.State == Fault:
			state = Fault
		case found.State == Warning && state == OK:
			state = Warning
		}
	}
	return &Diagnosis{Version: 1, State: state, Findings: f.list}
}

func (f *findings) ok(check, format string, args ...any) {
	f.list = append(f.list, Finding{check, OK, fmt.Sprintf(format, args...), ""})
}

func (f *findings) warn(check, advice, format string, args ...any) {
	f.list = append(f.list, Finding{check, Warning, fmt.Sprintf(format, args...), advice})
}

func (f *findings) fault(check, advice, format string, args ...any) {
	f.list = append(f.list, Finding{check, Fault, fmt.Sprintf(format, args...), advice})
}

// examine runs all checks.
func (d *doctor) examine(ctx context.Context) {
	end := d.reach(ctx)
	defer end()
	if d.conn != nil {
		d.examineServer(ctx)
	}
	if d.As != "" {
		return
	}
	d.examineStore()
	d.examineWorkers()
	d.examineShell()
	d.examineTools(ctx)
	d.examineDirectories()
}

func (d *doctor) examineServer(ctx context.Context) {
	ctx, stop := context.WithTimeout(ctx, doctorPatient)
	defer stop()
	if !d.examineReach(ctx) || !d.examineJetStream(ctx) {
		return
	}
	if d.As != "" {
		d.examineRole(ctx)
		return
	}
	d.assets = within(ctx, func(ctx context.Context) []natsprobe.Asset { return d.probe.Assets(ctx) })
	d.examineLimits(ctx)
	d.examinePermissions(ctx)
	d.examineStreams(ctx)
	d.examineCopies()
	d.examineRegistry()
	d.examineClock(ctx)
	d.readWorkers(ctx)
	d.examineLoss(ctx)
}

// doctorBuckets are the kinds of buckets.
func doctorBuckets() (names []string) {
	for _, kind := range []string{"workers", "lanes", "leases", "locks", "stats", "sweep"} {
		names = append(names, streams.Bucket(kind))
	}
	return names
}

// use sets the connection to examine.
func (d *doctor) use(c *broker.Conn) {
	d.conn, d.probe = c, natsprobe.New(c.Conn, doctorBuckets()...)
}

// within runs one question with its time limit.
func within[T any](ctx context.Context, ask func(context.Context) T) T {
	ctx, stop := context.WithTimeout(ctx, doctorStep)
	defer stop()
	return ask(ctx)
}

// reach connects, or starts a server. It reports the address of NATS and its origin.
func (d *doctor) reach(ctx context.Context) (end func()) {
	if !d.Remote {
		return d.reachEmbedded(ctx)
	}
	why := d.Target.Describe()
	c, err := broker.Attach(ctx, broker.Config{
		URL: d.Target.URL, Name: "modpipe doctor", Options: d.Target.Options, Inbox: d.Target.Inbox, Logger: slog.New(slog.DiscardHandler),
		ConnectTimeout: cmp.Or(d.Timeout, doctorConnect),
	})
	if err != nil {
		d.ok("nats", "%s", why)
		d.fault("server", d.Target.ReachAdvice(err), "%s", phrase.FirstLine(err.Error(), 300))
		return func() {}
	}
	d.use(c)
	d.ok("nats", "%s", why)
	return c.Close
}

func (d *doctor) reachEmbedded(ctx context.Context) (end func()) {
	why := "no server is configured"
	if d.Asked != "" {
		why = "from " + d.Asked
	}
	d.ok("nats", "embedded: `run` starts a server inside its process (%s)", why)
	st, err := store.Borrow()
	if err != nil {
		d.fault("server", "set TMPDIR to a directory that can be written to", "no server can be started on a temporary store: %v", err)
		return func() {}
	}
	c, stop, err := d.Embed(ctx, st)
	if err != nil {
		d.fault("server", "look at what the message names: the directory, or the address on loopback", "the embedded server does not start: %v", err)
		return func() {}
	}
	d.use(c)
	return stop
}
