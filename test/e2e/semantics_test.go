package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// scenario is a pipeline whose end is known beforehand.
type scenario struct {
	name  string
	yaml  string
	args  []string
	exit  int
	want  map[string]string
	check func(t *testing.T, r *result)
}

// all gives every one of the modules the same status.
func all(status string, modules ...string) map[string]string {
	m := make(map[string]string)
	for _, name := range modules {
		m[name] = status
	}
	return m
}

// and joins statuses.
func and(more ...map[string]string) map[string]string {
	m := make(map[string]string)
	for _, statuses := range more {
		maps.Copy(m, statuses)
	}
	return m
}

const (
	succeeded        = "succeeded"
	failed           = "failed"
	timedOut         = "timed_out"
	skipped          = "skipped"
	ignoredFailure   = "ignored_failure"
	dependencyFailed = "dependency_failed"
	cancelled        = "cancelled"
)

func runScenarios(t *testing.T, scenarios []scenario) {
	inBothModes(t, func(t *testing.T, p *place) {
		for _, s := range scenarios {
			t.Run(s.name, func(t *testing.T) {
				r := p.run(t, "name: e2e\n"+s.yaml, s.args...)
				r.want(t, s.exit, s.want)
				if s.check != nil {
					s.check(t, r)
				}
				if t.Failed() {
					t.Log(r.Stderr)
				}
			})
		}
	})
}

// inOrder checks that each module started after the one before it had ended.
func inOrder(modules ...string) func(t *testing.T, r *result) {
	return func(t *testing.T, r *result) {
		t.Helper()
		for i := 1; i < len(modules); i++ {
			before, after := r.Report.module(t, modules[i-1]), r.Report.module(t, modules[i])
			if after.Started.Before(before.Finished) {
				t.Errorf("%s started at %v, before %s had ended at %v", after.Name, after.Started, before.Name, before.Finished)
			}
		}
	}
}

// reasonNames checks that a module's reason or error has these words.
func reasonNames(module string, words ...string) func(t *testing.T, r *result) {
	return func(t *testing.T, r *result) {
		t.Helper()
		m := r.Report.module(t, module)
		for _, w := range words {
			if !strings.Contains(m.Reason+"\n"+m.Error, w) {
				t.Errorf("%s: reason %q, error %q, want one that has %q", module, m.Reason, m.Error, w)
			}
		}
	}
}

func checks(each ...func(t *testing.T, r *result)) func(t *testing.T, r *result) {
	return func(t *testing.T, r *result) {
		t.Helper()
		for _, check := range each {
			check(t, r)
		}
	}
}

// fanOut is 1 → n → 1.
func fanOut(n int) (yaml string, want map[string]string) {
	var b strings.Builder
	names := []string{"first", "last"}
	b.WriteString("modules:\n  first: {run: 'true'}\n")
	for i := range n {
		name := fmt.Sprintf("middle-%d", i)
		names = append(names, name)
		fmt.Fprintf(&b, "  %s: {needs: [first], run: 'echo %d >\"$D/%d\"'}\n", name, i, i)
	}
	fmt.Fprintf(&b, "  last: {needs: [%s], run: 'test $(ls \"$D\" | grep -c \"^[0-9]\") = %d'}\n", strings.Join(names[2:], ", "), n)
	return b.String(), all(succeeded, names...)
}

func TestGraphs(t *testing.T) {
	fanYAML, fanWant := fanOut(50)
	runScenarios(t, []scenario{
		{
			name: "chain",
			yaml: `
modules:
  c: {needs: [b], run: echo c}
  b: {needs: a, run: echo b}
  a: {run: echo a}
`,
			want:  all(succeeded, "a", "b", "c"),
			check: inOrder("a", "b", "c"),
		},
		{
			name: "diamond",
			yaml: `
modules:
  a: {run: 'true'}
  b: {needs: [a], run: 'true'}
  c: {needs: [a], run: 'true'}
  d: {needs: [b, c], run: 'true'}
`,
			want:  all(succeeded, "a", "b", "c", "d"),
			check: checks(inOrder("a", "b", "d"), inOrder("a", "c", "d")),
		},
		{name: "1 to 50 to 1", yaml: fanYAML, want: fanWant, check: inOrder("first", "middle-7", "last")},
		{
			name: "command without a shell",
			yaml: `
modules:
  a: {command: [printf, '%s\n', '$HOME', 010, 1.10, ~, 'a b']}
`,
			want: all(succeeded, "a"),
			check: func(t *testing.T, r *result) {
				if got := r.output("a", "stdout"); !slices.Equal(got, []string{"$HOME", "010", "1.10", "~", "a b"}) {
					t.Errorf("it printed %q", got)
				}
			},
		},
		{
			name: "params",
			yaml: `
params:
  channel: {type: choice, options: [dev, prod], default: dev}
  count: {type: number, default: 2}
  loud: {type: boolean, default: false}
modules:
  a: {command: [echo, "${{ params.channel }}", "${{ params.count }}"]}
  b: {if: params.loud, run: echo}
`,
			args: []string{"--param", "channel=prod", "--param", "count=3"},
			want: and(all(succeeded, "a"), all(skipped, "b")),
			check: func(t *testing.T, r *result) {
				if got := r.output("a", "stdout"); !slices.Equal(got, []string{"prod 3"}) {
					t.Errorf("it printed %q", got)
				}
			},
		},
		{
			name: "shells",
			yaml: `
modules:
  sh: {run: 'false; echo not reached', ignore-failure: true}
  unset: {run: 'echo $NOT_SET_ANYWHERE', ignore-failure: true}
  bash: {shell: bash, run: '[[ a == a ]] && false | true', ignore-failure: true}
  dir: {dir: sub, run: 'test "$(basename "$PWD")" = sub', needs: [make]}
  make: {run: mkdir -p sub}
`,
			want: and(all(ignoredFailure, "sh", "unset", "bash"), all(succeeded, "dir", "make")),
		},
	})
}

func TestFailures(t *testing.T) {
	runScenarios(t, []scenario{
		{
			name: "fail-slow",
			yaml: `
fail-fast: false
modules:
  bad: {run: exit 3}
  worse: {run: exit 4}
  behind: {needs: [bad], run: 'true'}
  further: {needs: [behind], run: 'true'}
  other: {run: 'true'}
  another: {needs: [other], run: 'true'}
`,
			exit:  1,
			want:  and(all(failed, "bad", "worse"), all(dependencyFailed, "behind", "further"), all(succeeded, "other", "another")),
			check: reasonNames("further", "bad"),
		},
		{
			name: "ignored failure and its dependents",
			yaml: `
modules:
  bad: {run: exit 3, ignore-failure: true}
  behind:
    needs: [bad]
    env: {HOW: "${{ needs.bad.status }}"}
    run: test "$HOW" = ignored_failure
`,
			want: map[string]string{"bad": ignoredFailure, "behind": succeeded},
		},
		{
			name: "always-run after a failure, in order",
			yaml: `
modules:
  bad: {run: exit 3}
  behind: {needs: [bad], run: 'true'}
  notice: {needs: [behind], always-run: true, run: 'echo notice'}
  last: {needs: [notice], always-run: true, run: 'echo last'}
`,
			exit:  1,
			want:  and(all(failed, "bad"), all(dependencyFailed, "behind"), all(succeeded, "notice", "last")),
			check: inOrder("bad", "notice", "last"),
		},
		{
			name: "behind an always-run module, fail-fast",
			yaml: `
modules:
  bad: {run: exit 3}
  tidy: {needs: [bad], always-run: true, run: 'true'}
  behind: {needs: [tidy], run: 'true'}
`,
			exit: 1,
			want: map[string]string{"bad": failed, "tidy": succeeded, "behind": cancelled},
		},
		{
			name: "behind an always-run module, fail-slow",
			yaml: `
fail-fast: false
modules:
  bad: {run: exit 3}
  tidy: {needs: [bad], always-run: true, run: 'true'}
  behind: {needs: [tidy], run: 'true'}
`,
			exit: 1,
			want: map[string]string{"bad": failed, "tidy": succeeded, "behind": succeeded},
		},
		{
			name: "skip cascades and names the root",
			yaml: `
modules:
  root: {if: 1 == 2, run: 'true'}
  behind: {needs: [root], run: 'true'}
  further: {needs: [behind], run: 'true'}
  optional: {needs: [{module: root, optional: true}], run: 'true'}
  always: {needs: [further], always-run: true, run: 'true'}
`,
			want:  and(all(skipped, "root", "behind", "further", "always"), all(succeeded, "optional")),
			check: checks(reasonNames("behind", "root"), reasonNames("further", "root"), reasonNames("always", "root")),
		},
		{
			name: "optional need failed",
			yaml: `
fail-fast: false
modules:
  bad: {run: exit 3}
  behind: {needs: [{module: bad, optional: true}], run: 'true'}
`,
			exit:  1,
			want:  map[string]string{"bad": failed, "behind": dependencyFailed},
			check: reasonNames("behind", "bad"),
		},
		{
			name: "optional need absent",
			yaml: `
modules:
  other: {run: 'true'}
  behind: {needs: [{module: other, optional: true}], run: 'true'}
  required: {needs: [other], run: 'true'}
`,
			args: []string{"--skip", "other"},
			want: and(all(skipped, "other", "required"), all(succeeded, "behind")),
		},
		{
			name: "killed by a signal",
			yaml: `
modules:
  bad: {run: 'kill -9 $$'}
`,
			exit: 1,
			want: all(failed, "bad"),
			check: func(t *testing.T, r *result) {
				a := r.Report.module(t, "bad").Attempts
				if len(a) != 1 || a[0].ExitCode == nil || *a[0].ExitCode != 137 {
					t.Errorf("attempts %+v, want one with exit code 137", a)
				}
			},
		},
		{
			name: "command that does not exist",
			yaml: `
modules:
  bad: {command: [no-such-program-anywhere]}
`,
			exit:  1,
			want:  all(failed, "bad"),
			check: reasonNames("bad", "no-such-program-anywhere"),
		},
	})
}

// TestNeedsThatEndDifferently lets two needs of a module end in both orders;
// both orders give the same status.
func TestNeedsThatEndDifferently(t *testing.T) {
	const yaml = `
name: e2e
fail-fast: false
modules:
  failing: {run: 'read _ <"$D/failing"; exit 3'}
  skipping: {needs: [gate], if: 1 == 2, run: 'true'}
  gate: {run: 'read _ <"$D/skipping"'}
  ignored: {run: 'read _ <"$D/ignored"; exit 3', ignore-failure: true}
  fine: {run: 'read _ <"$D/fine"'}
  failed-and-skipped: {needs: [failing, skipping], run: 'true'}
  failed-and-ignored: {needs: [failing, ignored], run: 'true'}
  skipped-and-fine: {needs: [skipping, fine], run: 'true'}
  ignored-and-fine: {needs: [ignored, fine], run: 'true'}
  skipped-and-ignored: {needs: [skipping, ignored], run: 'true'}
  always: {needs: [failing, skipping, ignored], always-run: true, run: 'true'}
`
	want := and(
		all(failed, "failing"), all(ignoredFailure, "ignored"), all(succeeded, "gate", "fine"), all(skipped, "skipping"),
		all(dependencyFailed, "failed-and-skipped", "failed-and-ignored"), all(skipped, "skipped-and-fine", "skipped-and-ignored"),
		all(succeeded, "ignored-and-fine", "always"),
	)
	gates := []string{"failing", "skipping", "ignored", "fine"}
	opens := map[string]string{"failing": "failing", "skipping": "gate", "ignored": "ignored", "fine": "fine"}
	inBothModes(t, func(t *testing.T, p *place) {
		for _, order := range [][]string{
			{"failing", "skipping", "ignored", "fine"},
			{"fine", "ignored", "skipping", "failing"},
			{"skipping", "fine", "failing", "ignored"},
			{"ignored", "failing", "fine", "skipping"},
		} {
			t.Run(strings.Join(order, " "), func(t *testing.T) {
				dir := p.dir(t)
				open := map[string]*gate{}
				for _, name := range gates {
					open[name] = newGate(t, dir, name)
				}
				r := p.startIn(t, dir, p.file(t, yaml))
				for _, name := range order {
					open[name].open(t)
					r.await(t, event{Event: "module.ended", Module: opens[name]})
				}
				res := r.result(t)
				res.want(t, 1, want)
				checks(
					reasonNames("failed-and-skipped", "failing"), reasonNames("skipped-and-fine", "skipping"),
				)(t, res)
			})
		}
	})
}

func TestFailFastCancelsRunningModules(t *testing.T) {
	const yaml = `
name: e2e
modules:
  long: {run: 'echo pid $$; exec sleep 300'}
  child: {run: 'sleep 300 & echo child $!; wait', grace: 1s}
  bad: {run: 'read _ <"$D/bad"; exit 3'}
  behind: {needs: [bad], run: 'true'}
  behind-long: {needs: [long], run: 'true'}
  both: {needs: [bad, long], run: 'true'}
  always: {needs: [bad, long], always-run: true, run: 'true'}
`
	inBothModes(t, func(t *testing.T, p *place) {
		dir := p.dir(t)
		bad := newGate(t, dir, "bad")
		r := p.startIn(t, dir, p.file(t, yaml))
		pids := []int{r.awaitNumber(t, "long", "pid"), r.awaitNumber(t, "child", "child")}
		bad.open(t)
		res := r.result(t)
		res.want(t, 1, and(
			all(failed, "bad"), all(cancelled, "long", "child", "behind-long"),
			all(dependencyFailed, "behind", "both"), all(succeeded, "always"),
		))
		for _, pid := range pids {
			gone(t, pid)
		}
		res.wantNoProcess(t)
		checks(inOrder("long", "always"), reasonNames("behind", "bad"))(t, res)
	})
}
