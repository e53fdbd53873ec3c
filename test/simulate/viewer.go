package simulate

import (
	"reflect"
	"time"

	"github.com/modpipe/modpipe/schedule"
)

// viewer follows a run without its key. It believes a record until it sees that the
// record is rejected. It decides nothing.
type viewer struct {
	w       *world
	run     *run
	known   schedule.Rejections
	state   *schedule.Run
	cursor  int // index of the next entry
	waking  bool
	checked bool
}

// watch adds a viewer of a run to a world in which records are forged.
func (w *world) watch(r *run) {
	if w.forger == nil {
		return
	}
	w.viewers = append(w.viewers, &viewer{w: w, run: r, state: schedule.NewRun(nil)})
}

// viewersBeginAgain follows a log again that has lost its end.
func (w *world) viewersBeginAgain(r *run) {
	for _, v := range w.viewers {
		if v.run == r {
			v.known, v.checked = schedule.Rejections{}, false
			v.begin()
			v.wake()
		}
	}
}

// begin folds the log from its first entry.
func (v *viewer) begin() {
	v.known.Again()
	v.state, v.cursor = schedule.NewRun(nil), 0
}

// wake reads the new entries, a little later.
func (v *viewer) wake() {
	if v.waking {
		return
	}
	v.waking = true
	v.w.after(time.Duration(v.w.fraud.Int64N(int64(40*time.Millisecond))), nil, "a viewer receives entries", func() {
		v.waking = false
		v.read()
	})
}

// read folds what the log has.
func (v *viewer) read() {
	seen := v.w.server.logs[v.run.id].seenBy(nil)
	for v.cursor < len(seen.entries) {
		e := seen.at(v.cursor)
		v.cursor++
		if v.known.Mark(&e) {
			v.known.Learn(seen.entries)
			v.begin()
			continue
		}
		if err := v.state.Apply(e); err != nil {
			v.w.fail("a viewer of %s cannot fold its log: %v", v.run.id, err)
			return
		}
	}
	if v.state.Ended() != nil && !v.checked {
		v.checked = true
		v.check()
	}
}

// check checks that a viewer sees an ended run as an orchestrator does.
func (v *viewer) check() {
	t := &v.run.truth
	for _, m := range t.modules {
		if is, want := v.state.StatusOf(m.Name), t.state.StatusOf(m.Name); is != want {
			v.w.fail("a viewer of %s sees that %s has %s; it has %s", v.run.id, m.Name, is, want)
		}
	}
	is, errA := v.state.Report(nil)
	want, errB := t.state.Report(nil)
	if errA != nil || errB != nil || !reflect.DeepEqual(is, want) {
		v.w.fail("a viewer of %s reports another run: %v, %v", v.run.id, errA, errB)
	}
}

// viewersAtTheEnd lets every viewer read the rest.
func (c *checks) viewersAtTheEnd(w *world) {
	for _, v := range w.viewers {
		if !v.run.gone {
			v.read()
		}
	}
}
