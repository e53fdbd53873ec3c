package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/connect"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/natsprobe"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// How well what a check looked at is.
const (
	healthOK      = "ok"
	healthWarning = "warning" // runs work, but worse, or not everywhere
	healthFault   = "fault"   // runs do not work
)

// finding is what one check found, as -o json has it.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"`
	Found  string `json:"found"`
	Advice string `json:"advice"` // what to do; empty when it is ok
}

// diagnosis is what doctor found, as -o json has it.
type diagnosis struct {
	Version  int       `json:"version"` // 1
	State    string    `json:"state"`   // the worst of the findings'
	Findings []finding `json:"findings"`
}

const (
	doctorConnect = 10 * time.Second // when the settings name no limit
	doctorPatient = 25 * time.Second // for everything after the connection
	doctorStep    = 8 * time.Second  // for one question
)

func (a *app) doctorCommand() *cobra.Command {
	where := &store.Location{}
	cmd := &cobra.Command{
		Use: "doctor [FILE]", Short: "Look whether runs would work here, and say what to do", ValidArgsFunction: a.completeFile,
		Long: "Look whether runs would work here: the NATS server, its limits, what we may do there, clocks, the store,\n" +
			"workers, tools. With FILE, also whether a worker offers what its modules require. Nothing is changed on the\n" +
			"server. Without a server, one is started on a temporary store.\n\n" +
			"Exit codes: 0 when there is no fault (warnings are none), 2 usage, 3 a fault.",
	}
	defineLocation(cmd.Flags(), where, "whose store to look at (default: the git work tree that holds FILE, else the one around the working directory)")
	cmd.RunE = a.do(between(0, 1, "doctor [FILE]"), func(ctx context.Context, args []string) error {
		d := &doctor{app: a, place: *where}
		if err := d.start(args); err != nil {
			return err
		}
		d.examine(ctx)
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		return a.showDiagnosis(d.diagnosis())
	})
	return cmd
}

func (a *app) showDiagnosis(d *diagnosis) error {
	err := a.emit(d, func(w io.Writer) { d.table(w, a.paint(w)) }, func(w io.Writer) {
		for _, f := range d.Findings {
			if f.State != healthOK {
				console.Writeln(w, f.Check)
			}
		}
	})
	if err == nil && d.State == healthFault {
		err = exit.With(exit.Infrastructure)
	}
	return err
}

// table writes a line for each finding, and below it what to do.
func (d *diagnosis) table(w io.Writer, paint console.Painter) {
	wide := 0
	for _, f := range d.Findings {
		wide = max(wide, len(f.Check))
	}
	counts := map[string]int{}
	for _, f := range d.Findings {
		counts[f.State]++
		console.Writef(w, "%s %s  %s\n", healthColour(paint, f.State, phrase.Pad(f.State, len(healthWarning))), phrase.Pad(f.Check, wide), phrase.Indent(safetext.Text(f.Found)))
		for line := range strings.Lines(f.Advice) {
			console.Writef(w, "%s→ %s\n", strings.Repeat(" ", len(healthWarning)+wide+3), strings.TrimRight(line, "\n"))
		}
	}
	console.Writef(w, "\n%s: %d ok", phrase.Count(len(d.Findings), "check"), counts[healthOK])
	if n := counts[healthWarning]; n > 0 {
		console.Writef(w, ", %s", phrase.Count(n, "warning"))
	}
	if n := counts[healthFault]; n > 0 {
		console.Writef(w, ", %s", phrase.Count(n, "fault"))
	}
	console.Writeln(w)
}

// health colours text after a finding's word, in the colours of statuses.
func healthColour(p console.Painter, state, text string) string {
	return p.Status(map[string]string{healthOK: "succeeded", healthWarning: "retrying", healthFault: "failed"}[state], text)
}

// doctor looks at everything, one thing after the other.
type doctor struct {
	app   *app
	place store.Location

	file     string // "" = none
	pipeline *pipeline.Pipeline
	store    string // the workspace's
	target   connect.Target
	remote   bool
	conn     *broker.Conn // nil = there is none
	probe    *natsprobe.Probe
	assets   []natsprobe.Asset
	workers  []jobs.WorkerInfo
	asked    bool // workers is known
	findings []finding
}

// start finds out what to look at. Its errors are those of usage.
func (d *doctor) start(args []string) (err error) {
	dir, err := d.app.workDir()
	if err != nil {
		return err
	}
	if len(args) > 0 {
		d.file = args[0]
		if d.pipeline, err = d.app.check(d.file, nil); err != nil {
			return err
		}
		dir = fileDir(d.app, d.file)
	}
	if _, d.store, err = d.place.Resolve(d.app.env, dir); err != nil {
		return err
	}
	d.target, d.remote, err = d.app.nats.Named()
	return err
}

func (d *doctor) diagnosis() *diagnosis {
	state := healthOK
	for _, f := range d.findings {
		switch {
		case f.State == healthFault:
			state = healthFault
		case f.State == healthWarning && state == healthOK:
			state = healthWarning
		}
	}
	return &diagnosis{Version: 1, State: state, Findings: d.findings}
}

func (d *doctor) ok(check, format string, args ...any) {
	d.findings = append(d.findings, finding{check, healthOK, fmt.Sprintf(format, args...), ""})
}

func (d *doctor) warn(check, advice, format string, args ...any) {
	d.findings = append(d.findings, finding{check, healthWarning, fmt.Sprintf(format, args...), advice})
}

func (d *doctor) fault(check, advice, format string, args ...any) {
	d.findings = append(d.findings, finding{check, healthFault, fmt.Sprintf(format, args...), advice})
}

// examine makes all checks.
func (d *doctor) examine(ctx context.Context) {
	end := d.reach(ctx)
	defer end()
	if d.conn != nil {
		d.examineServer(ctx)
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

// doctorBuckets are the kinds of buckets that there are.
func doctorBuckets() (names []string) {
	for _, kind := range []string{"workers", "lanes", "leases", "locks", "stats", "sweep"} {
		names = append(names, topology.Bucket(kind))
	}
	return names
}

// use takes the connection to examine.
func (d *doctor) use(c *broker.Conn) {
	d.conn, d.probe = c, natsprobe.New(c.Conn, doctorBuckets()...)
}

// within gives one question its time.
func within[T any](ctx context.Context, ask func(context.Context) T) T {
	ctx, stop := context.WithTimeout(ctx, doctorStep)
	defer stop()
	return ask(ctx)
}

// reach connects, or starts a server, and says where NATS is and why.
func (d *doctor) reach(ctx context.Context) (end func()) {
	if !d.remote {
		return d.reachEmbedded(ctx)
	}
	why := d.target.Describe()
	c, err := broker.Attach(ctx, broker.Config{
		URL: d.target.URL, Name: "modpipe doctor", Options: d.target.Options, Logger: d.app.silentLogger(),
		ConnectTimeout: cmp.Or(d.app.set.ConnectTimeout, doctorConnect),
	})
	if err != nil {
		d.ok("nats", "%s", why)
		d.fault("server", d.target.ReachAdvice(err), "%s", phrase.FirstLine(err.Error(), 300))
		return func() {}
	}
	d.use(c)
	d.ok("nats", "%s", why)
	return c.Close
}

func (d *doctor) reachEmbedded(ctx context.Context) (end func()) {
	why := "no server is configured"
	if o := d.app.bind.Origin["server"]; o != "" {
		why = "from " + o
	}
	d.ok("nats", "embedded: `run` starts a server inside its process (%s)", why)
	st, err := store.Borrow()
	if err != nil {
		d.fault("server", "set TMPDIR to a directory that can be written to", "no server can be started on a temporary store: %v", err)
		return func() {}
	}
	s, err := d.app.sessions.Embed(ctx, st, access.Hosting{Token: store.NewToken(), As: access.RoleRead}, d.app.silentLogger())
	if err != nil {
		d.fault("server", "look at what the message names: the directory, or the address on loopback", "the embedded server does not start: %v", err)
		return func() {}
	}
	d.use(s.Conn)
	return s.Close
}
