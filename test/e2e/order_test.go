package e2e

import (
	"slices"
	"strings"
	"testing"
)

// hold is a script that notes its start and stop, and fails when another
// module holds one of its keys.
const hold = `
      for key in $KEYS; do
        mkdir "$D/key-$key" || { echo "key $key is held: $(ls "$D")"; exit 9; }
      done
      echo "start $MODPIPE_MODULE" >>"$D/held"
      for key in $KEYS; do rmdir "$D/key-$key"; done
`

// meet waits for a file that another module creates at the same time. After a while it
// gives up, which fails the module.
const meet = `meet() { i=0; until [ -e "$D/$1" ]; do i=$((i+1)); [ $i -lt 3000 ] || { echo "never met $1"; exit 8; }; sleep 0.02; done; }; `

func TestKeys(t *testing.T) {
	// a holds A until d, which has another key, has come: they run together.
	const yaml = `
name: e2e
fail-fast: false
modules:
  a:
    not-in-parallel: [A]
    env: {KEYS: A}
    run: |
      mkdir "$D/key-A"
      ` + meet + `meet d
      test -n "$MODPIPE_FENCING_TOKEN"
      echo "$MODPIPE_FENCING_TOKEN" >>"$D/tokens-A"
      rmdir "$D/key-A"
  a2: {not-in-parallel: A, env: {KEYS: A}, run: *hold}
  ab: {not-in-parallel: [A, B], env: {KEYS: A B}, run: *hold}
  b: {not-in-parallel: [B], env: {KEYS: B}, run: *hold}
  d:
    not-in-parallel: [D]
    run: 'touch "$D/d"'
  free: {run: 'test -z "$MODPIPE_FENCING_TOKEN"'}
`
	source := strings.Replace(yaml, "name: e2e", "name: e2e\nx-hold: &hold |"+hold, 1)
	inBothModes(t, func(t *testing.T, p *place) {
		r := p.run(t, source)
		r.want(t, 0, all(succeeded, "a", "a2", "ab", "b", "d", "free"))
		if got := r.lines(t, "held"); len(got) != 3 {
			t.Errorf("held: %q", got)
		}
		notTogether(t, r, "a", "a2", "ab")
		notTogether(t, r, "ab", "b")
	})
}

// notTogether checks by the report's times that no two of the modules ran at
// the same time.
func notTogether(t *testing.T, r *result, names ...string) {
	t.Helper()
	var ms []module
	for _, n := range names {
		ms = append(ms, r.Report.module(t, n))
	}
	slices.SortFunc(ms, func(a, b module) int { return a.Started.Compare(b.Started) })
	for i := 1; i < len(ms); i++ {
		if ms[i].Started.Before(ms[i-1].Finished) {
			t.Errorf("%s (from %v) ran beside %s (until %v)", ms[i].Name, ms[i].Started, ms[i-1].Name, ms[i-1].Finished)
		}
	}
}

func TestExclusive(t *testing.T) {
	const yaml = `
name: e2e
modules:
  alone:
    not-in-parallel: true
    run: |
      mkdir "$D/alone"
      test -z "$(find "$D" -name 'at-*')"
      rmdir "$D/alone"
  others:
    matrix: {n: [1, 2, 3, 4, 5, 6, 7, 8, 9]}
    run: |
      touch "$D/at-$MODPIPE_MATRIX_N"
      test ! -e "$D/alone"
      rm "$D/at-$MODPIPE_MATRIX_N"
  alone2: {not-in-parallel: true, run: 'test -z "$(find "$D" -name "at-*")" && test ! -e "$D/alone"'}
`
	want := all(succeeded, "alone", "alone2")
	for _, n := range "123456789" {
		want["others (n="+string(n)+")"] = succeeded
	}
	inBothModes(t, func(t *testing.T, p *place) {
		p.run(t, yaml).want(t, 0, want)
	})
}

func TestLimit(t *testing.T) {
	// Two of the six run at the same time, never three: the first two wait for each
	// other.
	const yaml = `
name: e2e
limits: {licences: {max: 2}}
modules:
  user:
    matrix: {n: [1, 2, 3, 4, 5, 6]}
    limit: licences
    run: |
      ` + meet + `mkdir -p "$D/in"; mkdir "$D/in/$MODPIPE_MATRIX_N"
      n=$(ls "$D/in" | wc -l)
      test $n -le 2
      if [ $n = 2 ]; then touch "$D/two"; fi
      meet two
      test $(ls "$D/in" | wc -l) -le 2
      rmdir "$D/in/$MODPIPE_MATRIX_N"
`
	want := map[string]string{}
	for _, n := range "123456" {
		want["user (n="+string(n)+")"] = succeeded
	}
	inBothModes(t, func(t *testing.T, p *place) {
		p.run(t, yaml).want(t, 0, want)
	})
}

func TestPriorityOnOneSlot(t *testing.T) {
	const yaml = `
name: e2e
modules:
  first: {run: 'read _ <"$D/first"'}
  low: {needs: [first], priority: low, run: 'echo low >>"$D/order"'}
  short: {needs: [first], run: 'echo short >>"$D/order"'}
  long: {needs: [first], run: 'echo long >>"$D/order"'}
  longer: {needs: [long], priority: low, run: 'echo longer >>"$D/order"'}
  high: {needs: [first], priority: high, run: 'echo high >>"$D/order"'}
  critical: {needs: [first], priority: critical, run: 'echo critical >>"$D/order"'}
`
	onOneWorker(t, 1, func(t *testing.T, p *place) {
		dir := p.dir(t)
		first := newGate(t, dir, "first")
		r := p.startIn(t, dir, p.file(t, yaml))
		r.await(t, event{Event: "module.started", Module: "first"})
		first.open(t)
		res := r.result(t)
		res.want(t, 0, all(succeeded, "first", "low", "short", "long", "longer", "high", "critical"))
		want := []string{"critical", "high", "long", "short", "low", "longer"}
		if got := res.lines(t, "order"); !slices.Equal(got, want) {
			t.Errorf("order %v, want %v", got, want)
		}
	})
}

func TestTimeouts(t *testing.T) {
	runScenarios(t, []scenario{
		{
			name: "a module that is too slow, and one that ignores TERM",
			yaml: `
fail-fast: false
modules:
  slow: {timeout: 300ms, run: exec sleep 300}
  deaf:
    timeout: 300ms
    grace: 300ms
    run: |
      trap '' TERM
      echo deaf $$
      while :; do sleep 1; done
  polite: {timeout: 4s, run: 'trap "echo bye; exit 0" TERM; sleep 300 & wait'}
  behind: {needs: [slow], run: 'true'}
  fine: {timeout: 0, run: 'true'}
`,
			exit: 1,
			want: and(all(timedOut, "slow", "deaf", "polite"), all(dependencyFailed, "behind"), all(succeeded, "fine")),
			check: func(t *testing.T, r *result) {
				r.wantNoProcess(t)
				reasonNames("slow", "300ms")(t, r)
				if got := r.output("polite", "stdout"); !slices.Equal(got, []string{"bye"}) {
					t.Errorf("polite printed %q", got)
				}
			},
		},
		{
			name: "a child that outlives its parent",
			yaml: `
modules:
  parent: {run: 'sleep 300 & echo child $!'}
  silent: {run: '(trap "" TERM HUP; exec sleep 300) >/dev/null 2>&1 & echo child $!', grace: 300ms}
`,
			want: all(succeeded, "parent", "silent"),
			check: func(t *testing.T, r *result) {
				r.wantNoProcess(t)
			},
		},
		{
			name: "deadline",
			yaml: `
deadline: 1s
modules:
  slow: {run: exec sleep 300}
  behind: {needs: [slow], run: 'true'}
  always: {needs: [slow], always-run: true, run: 'true'}
`,
			exit: 4,
			want: map[string]string{"slow": cancelled, "behind": cancelled, "always": succeeded},
			check: func(t *testing.T, r *result) {
				if r.Report.Status != cancelled {
					t.Errorf("the run is %q, want cancelled", r.Report.Status)
				}
				r.wantNoProcess(t)
			},
		},
	})
}

// TestTimeoutCountsFromTheStart makes a module wait for the only slot longer than its
// time-out.
func TestTimeoutCountsFromTheStart(t *testing.T) {
	const yaml = `
name: e2e
modules:
  first: {priority: high, run: sleep 3.5}
  second: {timeout: 3s, run: 'true'}
`
	onOneWorker(t, 1, func(t *testing.T, p *place) {
		p.run(t, yaml).want(t, 0, all(succeeded, "first", "second"))
	})
}

func TestMoreSlotsThanThereAre(t *testing.T) {
	const yaml = `
name: e2e
modules:
  small: {matrix: {n: [1, 2, 3]}, run: 'mkdir "$D/$MODPIPE_MATRIX_N"; test ! -e "$D/large"; rmdir "$D/$MODPIPE_MATRIX_N"'}
  large: {slots: 64, run: 'mkdir "$D/large"; test -z "$(find "$D" -name "[1-3]")"; rmdir "$D/large"'}
`
	onOneWorker(t, 2, func(t *testing.T, p *place) {
		p.run(t, yaml).want(t, 0, all(succeeded, "small (n=1)", "small (n=2)", "small (n=3)", "large"))
	})
}

// TestPriorityHoldsAcrossLanes: one slot, lanes that are created in the first
// run and exist in the others.
func TestPriorityHoldsAcrossLanes(t *testing.T) {
	const yaml = `
name: e2e
modules:
  low: {priority: low, requires: {tools: [sh]}, matrix: {i: [1, 2, 3]}, run: 'echo low >>"$D/order"'}
  urgent: {priority: critical, command: [sh, -c, 'echo urgent >>"$D/order"']}
  later: {priority: high, needs: [urgent], command: [sh, -c, 'echo later >>"$D/order"']}
`
	onOneWorker(t, 1, func(t *testing.T, p *place) {
		for range 3 {
			r := p.run(t, yaml)
			r.want(t, 0, all(succeeded, "low (i=1)", "low (i=2)", "low (i=3)", "urgent", "later"))
			if got := r.lines(t, "order"); !slices.Equal(got, []string{"urgent", "later", "low", "low", "low"}) {
				t.Errorf("the order is %v", got)
			}
		}
	})
}
