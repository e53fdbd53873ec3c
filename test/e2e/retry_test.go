package e2e

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
)

// retried runs a run again, which succeeds, and returns its report.
func (p *place) retried(t *testing.T, args ...string) *result {
	t.Helper()
	o := p.orchestrator(t, append([]string{"runs", "retry", "-o", "json"}, args...)...)
	r := &result{Exit: o.exit()}
	if r.Exit != 0 {
		t.Errorf("runs retry %q: exit %d: %s", args, r.Exit, o.stderrText())
	}
	if err := json.Unmarshal(o.stdout.Bytes(), &r.Report); err != nil {
		t.Fatalf("report: %v\n%s", err, o.stdout.Bytes())
	}
	return r
}

// ran are the lines that modules have added to $D/ran since the last call.
func (p *place) ran(t *testing.T, r *result, before int) []string {
	t.Helper()
	lines := r.lines(t, "ran")[before:]
	slices.Sort(lines)
	return lines
}

func TestRetryFromStartWithOtherParameters(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *place) {
		first := p.run(t, `
name: e2e
params: {who: {default: world}, n: {type: number, default: 1}}
modules:
  gen: {outputs: [list], env: {N: "${{ params.n }}"}, run: 'echo "list=$(seq -s, "$N")" >>"$MODPIPE_OUTPUT"'}
  hello: {needs: [gen], matrix: {i: "${{ fromJSON('[' + needs.gen.outputs.list + ']') }}"}, env: {WHO: "${{ params.who }}"}, run: 'echo "hello $WHO $MODPIPE_MATRIX_I" >>"$D/ran"'}
`, "--param", "who=you")
		first.want(t, 0, all(succeeded, "gen", "hello (i=1)"))
		second := p.retried(t, first.Report.Run, "--from", "start", "--param", "n=2")
		if got, want := second.Report.statuses(), all(succeeded, "gen", "hello (i=1)", "hello (i=2)"); !maps.Equal(got, want) {
			t.Errorf("statuses %v, want %v", got, want)
		}
		if got, want := p.ran(t, first, 1), []string{"hello you 1", "hello you 2"}; !slices.Equal(got, want) {
			t.Errorf("ran %q, want %q", got, want)
		}
		if second.Report.Run == first.Report.Run {
			t.Error("the runs have one id")
		}
	})
}

// The members of the family are known only from a result, which the retried
// run keeps.
func TestRetryOfAMemberOfAFamilyFromAResult(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *place) {
		first := p.run(t, `
name: e2e
fail-fast: false
modules:
  gen: {outputs: [list], run: 'echo gen >>"$D/ran"; echo ''list=["a","b","c"]'' >>"$MODPIPE_OUTPUT"'}
  fam:
    needs: [gen]
    outputs: [got]
    matrix: {v: "${{ fromJSON(needs.gen.outputs.list) }}"}
    run: 'echo "fam $MODPIPE_MATRIX_V" >>"$D/ran"; echo "got=$MODPIPE_MATRIX_V" >>"$MODPIPE_OUTPUT"; test -e "$D/repaired" || test "$MODPIPE_MATRIX_V" != b'
  after:
    needs: [fam]
    env: {GOT: "${{ join(map(needs.fam.members, .outputs.got), '+') }}"}
    run: 'echo "after $GOT" >>"$D/ran"; touch "$D/repaired"'
  repair: {always-run: true, needs: [fam], run: 'touch "$D/repaired"'}
`)
		first.want(t, 1, and(all(succeeded, "gen", "fam (v=a)", "fam (v=c)", "repair"), all(failed, "fam (v=b)"), all(dependencyFailed, "after")))
		second := p.retried(t, first.Report.Run, "fam (v=b)")
		for _, m := range second.Report.Modules {
			if m.Status != succeeded {
				t.Errorf("%s ended %s: %s", m.Name, m.Status, m.Error)
			}
		}
		if got, want := p.ran(t, first, 4), []string{"after a+b+c", "fam b"}; !slices.Equal(got, want) {
			t.Errorf("ran %q, want %q", got, want)
		}
		// A member that had succeeded runs again, too, and what follows it.
		third := p.retried(t, second.Report.Run, "fam (v=a)")
		if got, want := p.ran(t, first, 6), []string{"after a+b+c", "fam a"}; !slices.Equal(got, want) {
			t.Errorf("ran %q, want %q; %v", got, want, third.Report.statuses())
		}
	})
}
