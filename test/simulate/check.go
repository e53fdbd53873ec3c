package simulate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// truth is the state of a run. The world folds the run's log as it is written, and
// counts some events beside that.
type truth struct {
	state    *schedule.Run
	spec     *jobs.Spec
	modules  map[jobs.ModuleID]*pipeline.Module
	closed   map[jobs.AttemptID]time.Duration // when an attempt was closed
	outcomes map[jobs.AttemptID]*jobs.Outcome
	over     map[jobs.ModuleID]time.Duration // when a module ended
	final    map[jobs.ModuleID]jobs.Attempt  // attempts that succeeded
	tokens   map[string]uint64               // by key: the newest fencing token
	ended    int
	endedAt  time.Duration
	cancels  int
	locks    []jobs.Lock             // of the cluster, that the run uses
	granted  map[jobs.AttemptID]bool // attempts with a grant
	running  []*task
	readings map[string]reading    // by module, as declared
	values   map[string]jobs.Value // by module: its outputs or its result
	families map[string][]string   // members, by expanded family

	expanding *pipeline.Module                   // the family that was expanded last
	known     map[jobs.ModuleID]*pipeline.Module // modules, and members whose expansion was lost

	ready    map[jobs.ModuleID]time.Duration // when modules became ready
	led      bool                            // an orchestrator has taken the run over
	mayStart bool                            // the run is not cancelled, and no module has failed
}

func (t *truth) begin() {
	t.state = schedule.NewRun(nil)
	t.modules = map[jobs.ModuleID]*pipeline.Module{}
	t.closed, t.outcomes = map[jobs.AttemptID]time.Duration{}, map[jobs.AttemptID]*jobs.Outcome{}
	t.over = map[jobs.ModuleID]time.Duration{}
	t.known = map[jobs.ModuleID]*pipeline.Module{}
	t.values, t.families = map[string]jobs.Value{}, map[string][]string{}
	t.granted, t.ready, t.mayStart = map[jobs.AttemptID]bool{}, map[jobs.ModuleID]time.Duration{}, true
	t.final, t.tokens = map[jobs.ModuleID]jobs.Attempt{}, map[string]uint64{}
}

// checks checks the promises. Each check runs at the events that could break its
// promise.
type checks struct {
	fenced map[uint64]bool   // tokens that executions have had
	tokens map[string]uint64 // by key of the cluster: the newest fencing token
	late   []jobs.Holder     // entered in the bucket of locks after the end of their run

	products map[execution][]product
}

func (w *world) runOf(id jobs.RunID) *run {
	for _, r := range w.runs {
		if r.id == id {
			return r
		}
	}
	return nil
}

// appended checks a record that was stored. noise means that a stranger has
// written it, misled that its writer has found a copy of a genuine record.
func (c *checks) appended(w *world, id jobs.RunID, e *jobs.Entry, noise, misled bool) {
	t := &w.runOf(id).truth
	if w.runOf(id).gone {
		return // no orchestrator decides for this run
	}
	misled = misled || w.forger.has(id, attemptIn(e))
	if !noise && t.ended > 0 && !misled && e.Record.Takeover == nil && e.Record.Cancel == nil && subjectOf(e.Cell, &e.Record) != "ctl" {
		w.fail("%s is stored after the end of %s", kindOf(&e.Record), id)
	}
	second, final := false, jobs.Attempt(0)
	if o := e.Record.Outcome; o != nil {
		second, final = t.outcomes[jobs.AttemptID{Module: e.Cell, Attempt: o.Attempt}] != nil, t.final[e.Cell]
	}
	if err := t.record(e, w.now); err != nil {
		w.fail("the log of %s does not fold: %v", id, err)
		return
	}
	switch {
	case t.state.Skipped() && misled:
	case t.state.Skipped() && !noise && !w.server.lost: // two losses may put two outcomes into a cell
		w.fail("%s of %s in %s does not fit: %s", kindOf(&e.Record), e.Cell, id, describe(&e.Record))
	case !t.state.Skipped() && noise && !w.forger.mayCount(id, e):
		w.fail("noise of %s in %s counts: %s", e.Cell, id, describe(&e.Record))
	case t.state.Skipped(), noise && attemptIn(e).Attempt == 0:
	case e.Record.Outcome != nil:
		c.outcome(w, t, id, e, second, final)
		c.closedByCondition(w, t, id, e)
		c.hit(w, t, id, e)
	case e.Record.Expansion != nil:
		c.expanded(w, t, id, e.Record.Expansion)
	case e.Record.Grant != nil:
		c.granted(w, t, id, e.Record.Grant)
	case e.Record.End != nil:
		if t.ended > 1 {
			w.fail("%s ends twice", id)
		}
		c.verdict(w, t, id, e.Record.End)
	case e.Record.Cancel != nil:
		c.cancel(w, t, id, e)
	}
}

// attemptIn is the attempt that a record of a cell is about.
func attemptIn(e *jobs.Entry) jobs.AttemptID {
	id := jobs.AttemptID{Module: e.Cell}
	switch {
	case e.Record.Claim != nil:
		id.Attempt = e.Record.Claim.Attempt
	case e.Record.Outcome != nil:
		id.Attempt = e.Record.Outcome.Attempt
	}
	return id
}

// record folds an entry that was stored at the given time.
func (t *truth) record(e *jobs.Entry, at time.Duration) error {
	if err := t.state.Apply(*e); err != nil {
		return err
	}
	switch o := e.Record.Outcome; {
	case e.Record.Spec != nil:
		t.spec = e.Record.Spec
		for _, m := range t.spec.Pipeline.Modules {
			t.modules[jobs.ModuleID(m.Token)], t.known[jobs.ModuleID(m.Token)] = m, m
		}
	case t.state.Skipped():
	case o != nil:
		id := jobs.AttemptID{Module: e.Cell, Attempt: o.Attempt}
		t.outcomes[id], t.closed[id] = o, at
		m := t.modules[e.Cell]
		if m != nil && (o.Attempt != 0 || o.Cached != nil) {
			t.values[m.Name] = o.Outputs
		}
		if m != nil && t.state.StatusOf(m.Name).Terminal() {
			t.over[e.Cell] = at
		}
		if o.Status == report.AttemptSucceeded {
			t.final[e.Cell] = o.Attempt
		}
	case e.Record.Expansion != nil:
		t.expand(e.Record.Expansion)
	case e.Record.Grant != nil:
		for _, id := range e.Record.Grant.Attempts {
			t.granted[id] = true
		}
	case e.Record.End != nil:
		t.ended++
		t.endedAt = at
	case e.Record.Takeover != nil:
		t.led = true
	case e.Record.Cancel != nil:
		t.cancels++
	}
	t.noteReady(at)
	return nil
}

// outcome checks that an attempt has one outcome, and that no outcome follows a
// success. second means that the attempt already had one. final is the attempt of
// the module that had succeeded.
func (c *checks) outcome(w *world, t *truth, id jobs.RunID, e *jobs.Entry, second bool, final jobs.Attempt) {
	o := e.Record.Outcome
	if second {
		w.fail("attempt %d of %s in %s has two outcomes", o.Attempt, e.Cell, id)
	}
	if final != 0 {
		w.fail("%s in %s has another outcome after attempt %d succeeded", e.Cell, id, final)
	}
	if o.Unable {
		c.refused(w, t, id, e)
	}
	if o.By == "" || o.Status != report.AttemptLost {
		return
	}
	for _, x := range t.running { // an attempt that lives may not be taken over as lost
		if w.forger.has(id, attemptIn(e)) {
			return
		}
		if x.Job().Keyed && x.Job().Module == e.Cell && x.Job().Attempt == o.Attempt && c.holds(w, x) {
			w.fail("attempt %d of %s in %s is declared lost while %s, which holds a key, runs it", o.Attempt, e.Cell, id, x.k.self.Incarnation)
		}
	}
}

// refused checks that a module ends once as many machines could not start it as
// it may lose workers.
func (c *checks) refused(w *world, t *truth, id jobs.RunID, e *jobs.Entry) {
	m, count := t.modules[e.Cell], 0
	for id, o := range t.outcomes {
		if id.Module == e.Cell && o.Unable {
			count++
		}
	}
	if s := t.state.StatusOf(m.Name); s.Terminal() != (count >= m.Policy.MaxLosses) && t.mayStart {
		w.fail("%s in %s is %s after %d of %d machines could not start it", m.Name, id, s, count, m.Policy.MaxLosses)
	}
}

// cancel checks that a deadline does not cancel its run early.
func (c *checks) cancel(w *world, t *truth, id jobs.RunID, e *jobs.Entry) {
	if !e.Record.Cancel.Deadline || w.server.jumpedBack {
		return
	}
	if early := t.spec.Pipeline.Deadline - e.Time.Sub(w.server.logs[id].entries[0].Time); early > w.tolerance() {
		w.fail("the deadline of %s cancels it %s early", id, early)
	}
}

// tolerance is the largest error of clocks that have drifted since the world began.
func (w *world) tolerance() time.Duration { return w.now/50 + 50*time.Millisecond }

// verdict checks that the verdict follows from the modules' statuses, and that no
// module is open.
func (c *checks) verdict(w *world, t *truth, id jobs.RunID, end *jobs.End) {
	want, failures := report.RunSucceeded, 0
	for _, m := range t.modules {
		s := t.state.StatusOf(m.Name)
		if !s.Terminal() {
			w.fail("%s ends while %s is %s", id, m.Name, s)
		}
		if s == report.Failed || s == report.TimedOut {
			failures++
		}
	}
	switch {
	case c.cancelled(w, t, id):
		want = report.RunCancelled
	case failures > 0:
		want = report.RunFailed
	}
	if end.Status != want {
		w.fail("%s ends as %s; its modules give %s", id, end.Status, want)
	}
	for _, x := range t.running {
		if x.Job().Keyed && c.holds(w, x) {
			w.fail("%s ends while %s runs and holds a key", id, x)
		}
	}
}

// cancelled reports whether a cancellation came in time.
func (c *checks) cancelled(w *world, t *truth, id jobs.RunID) bool {
	return slices.ContainsFunc(w.server.logs[id].entries, func(e jobs.Entry) bool {
		return e.Cell == "" && e.Record.Cancel != nil && !t.state.TooLate(e.Record.Cancel.ID)
	})
}

// holds reports whether an execution counts as a holder of its locks. A paused
// machine does not count: fencing tokens protect against its late writes.
// Nor does an attempt that a forger can close, with its key.
func (c *checks) holds(w *world, x *task) bool {
	return x.running && x.k.alive && !x.k.paused && !x.k.waking && !w.forger.has(x.Job().Run, jobs.AttemptID{Module: x.Job().Module, Attempt: x.Job().Attempt})
}

// starts checks the start of an execution.
func (c *checks) starts(w *world, x *task) {
	r := w.runOf(x.Job().Run)
	t, m, j := &r.truth, r.truth.known[x.Job().Module], x.Job()
	w.note(x.k.name, "executes", x.String(), "token", x.Token())
	if m == nil {
		w.fail("%s starts, but is not a module of the run", x)
		return
	}
	if x.from.boot == w.server.boot && r.gone {
		w.fail("%s starts after the server lost its run", x)
	}
	if x.from.boot == w.server.boot { // else its worker received it before the server lost data
		c.needsEnded(w, t, x, m)
	}
	betrayed := w.forger.has(j.Run, jobs.AttemptID{Module: j.Module, Attempt: j.Attempt}) // others may have closed it
	if x.from.boot == w.server.boot && !betrayed {
		c.open(w, t, x)
		c.delayed(w, t, x, m)
		c.asDeclared(w, t, x, m)
	}
	if j.Keyed && !betrayed {
		c.fence(w, t, x, m)
	}
	t.running = append(t.running, x)
	x.running = true
	c.held(w, t, x)
	c.heldTogether(w, x)
	c.alone(w, x)
}

// open checks that a closed attempt does not start. Two attempts without a key may
// start, and end when they claim. The first is one whose delivery was on its way to
// a worker when it was closed. The second is one of a replaced orchestrator, when
// the server's clock has jumped. Then the job seems to be stored before its
// store-by time, or the lease that bounds this time was cut short.
func (c *checks) open(w *world, t *truth, x *task) {
	j := x.Job()
	late := func(at time.Duration) bool {
		return j.Keyed || x.from.sent > at && !w.server.jumpedBack && !w.server.cutShort
	}
	id := jobs.AttemptID{Module: j.Module, Attempt: j.Attempt}
	if at, closed := t.closed[id]; closed && late(at) {
		w.fail("%s starts after it was closed as %s", x, t.outcomes[id].Status)
	}
	if t.ended > 0 && late(t.endedAt) {
		w.fail("%s starts after the end of its run", x)
	}
	if at, over := t.over[j.Module]; over && late(at) {
		w.fail("%s starts while its module is %s", x, t.state.StatusOf(j.Name))
	}
}

// acked checks that no job is acknowledged before its outcome is stored. It does
// not check this after a loss. Then the log may lack an outcome that the worker has
// stored.
func (c *checks) acked(w *world, j *jobs.Job) {
	t, id := &w.runOf(j.Run).truth, jobs.AttemptID{Module: j.Module, Attempt: j.Attempt}
	if !w.server.lost && t.ended == 0 && !w.forger.has(j.Run, id) && t.state.Open(id) && (!j.Keyed || t.state.Granted(id)) {
		w.fail("attempt %d of %s in %s is acknowledged before it is closed", j.Attempt, j.Name, j.Run)
	}
}

// needsEnded checks that a module never starts before its needs ended.
func (c *checks) needsEnded(w *world, t *truth, x *task, m *pipeline.Module) {
	for _, need := range m.Needs {
		for _, s := range t.statuses(need.Module) {
			if !s.Terminal() {
				w.fail("%s starts while %s is %s", x, need.Module, s)
			}
		}
	}
}

// delayed checks that a retry waits for its delay.
func (c *checks) delayed(w *world, t *truth, x *task, m *pipeline.Module) {
	id := jobs.AttemptID{Module: x.Job().Module, Attempt: x.Job().Attempt - 1}
	o := t.outcomes[id]
	if o == nil || o.Attempt == 0 || (o.Status != report.AttemptFailed && o.Status != report.AttemptTimedOut) || w.server.jumped {
		return
	}
	least := min(m.Policy.Retry.Delay, m.Policy.Retry.MaxDelay) / 2
	if early := least - (w.now - t.closed[id]); early > w.tolerance() {
		w.fail("%s starts %s before the delay of its retry is over", x, early)
	}
}

// fence checks that tokens grow, and that no two executions share one.
func (c *checks) fence(w *world, t *truth, x *task, m *pipeline.Module) {
	token := x.Token()
	if token == 0 {
		w.fail("%s holds a key and starts without a claim", x)
		return
	}
	if c.fenced == nil {
		c.fenced, c.tokens = map[uint64]bool{}, map[string]uint64{}
	}
	if c.fenced[token] {
		w.fail("%s starts with the token %d, which another execution had", x, token)
	}
	c.fenced[token] = true
	for _, k := range m.Policy.Keys {
		tokens := t.tokens
		if slices.Contains(m.Policy.ClusterKeys, k) {
			tokens = c.tokens
		}
		if token < tokens[k] {
			w.fail("%s starts with the token %d of key %s after the token %d", x, token, k, tokens[k])
		}
		tokens[k] = token
	}
}

// held checks that live executions never exceed keys and limits.
func (c *checks) held(w *world, t *truth, x *task) {
	keys, limits := map[string]int{}, map[string]int{}
	alone, all := "", 0
	for _, y := range t.running {
		if !y.Job().Keyed || !c.holds(w, y) {
			continue
		}
		all++
		p := &t.known[y.Job().Module].Policy
		if p.Exclusive {
			alone = y.String()
		}
		for _, k := range p.Keys {
			if keys[k]++; keys[k] > 1 {
				w.fail("key %s is held twice, now that %s runs: %s", k, x, t.list(w))
			}
		}
		for _, l := range p.Limits {
			if limits[l]++; limits[l] > t.spec.Pipeline.Limits[l] {
				w.fail("limit %s of %d is held %d times, now that %s runs: %s", l, t.spec.Pipeline.Limits[l], limits[l], x, t.list(w))
			}
		}
	}
	if alone != "" && all > 1 {
		w.fail("%s must run alone, but %d run: %s", alone, all, t.list(w))
	}
}

func (t *truth) list(w *world) string {
	var words []string
	for _, y := range t.running {
		if w.checks.holds(w, y) {
			words = append(words, fmt.Sprintf("%s on %s", y, y.k.self.Incarnation))
		}
	}
	return strings.Join(words, ", ")
}

// ends notes the end of an execution.
func (c *checks) ends(w *world, x *task) {
	t := &w.runOf(x.Job().Run).truth
	if i := slices.Index(t.running, x); i >= 0 {
		t.running = slices.Delete(t.running, i, i+1)
	}
	w.note(x.k.name, "has ended", x.String())
}

// goesOn checks the locks of a worker that continues after a pause.
func (c *checks) goesOn(w *world, p *party) {
	for _, r := range w.runs {
		for _, x := range r.truth.running {
			if x.k.party == p && x.Job().Keyed {
				c.held(w, &r.truth, x)
				c.heldTogether(w, x)
			}
		}
	}
}

func (w *world) describeOpen() string {
	var words []string
	for _, r := range w.runs {
		if r.truth.ended > 0 && r.clean || r.deserted || r.gone {
			continue
		}
		for _, m := range r.truth.spec.Pipeline.Modules {
			words = append(words, fmt.Sprintf("%s/%s is %s", r.id, m.Name, r.truth.state.StatusOf(m.Name)))
		}
	}
	if len(words) == 0 {
		for _, q := range w.server.queue {
			words = append(words, fmt.Sprintf("%s/%s #%d is in the queue", q.job.Run, q.job.Module, q.job.Attempt))
		}
	}
	for _, k := range w.workers {
		for _, x := range k.tasks {
			words = append(words, fmt.Sprintf("%s is open on %s", x, k.name))
		}
	}
	return strings.Join(words, ", ")
}
