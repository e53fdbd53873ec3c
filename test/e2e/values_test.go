package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestValues(t *testing.T) {
	runScenarios(t, []scenario{
		{
			name: "outputs of several lines",
			yaml: `
modules:
  a:
    outputs: [one, many, twice, eq]
    run: |
      echo one=1 >>"$MODPIPE_OUTPUT"
      {
        echo 'many<<END'
        printf ' first line \n\n"third" $HOME\n'
        echo END
      } >>"$MODPIPE_OUTPUT"
      echo twice=x >>"$MODPIPE_OUTPUT"
      echo twice=y >>"$MODPIPE_OUTPUT"
      echo eq=a=b >>"$MODPIPE_OUTPUT"
  b:
    needs: [a]
    env: {MANY: "${{ needs.a.outputs.many }}", BOTH: "${{ needs.a.outputs.one }}-${{ needs.a.outputs.eq }}"}
    run: |
      printf '%s\n' "$MANY"
      echo "$BOTH"
      grep -q '"status": *"succeeded"' "$MODPIPE_NEEDS"
  c:
    needs: [a]
    stdin: "${{ needs.a.outputs.many }}"
    command: [cat]
`,
			want: all(succeeded, "a", "b", "c"),
			check: func(t *testing.T, r *result) {
				many := []string{" first line ", "", `"third" $HOME`}
				if got := r.output("b", "stdout"); !slices.Equal(got, append(slices.Clone(many), "1-a=b")) {
					t.Errorf("b printed %q", got)
				}
				if got := r.output("c", "stdout"); !slices.Equal(got, many) {
					t.Errorf("c printed %q", got)
				}
				out := r.Report.module(t, "a").Outputs
				if out["many"] != strings.Join(many, "\n") || out["twice"] != "y" {
					t.Errorf("outputs %q", out)
				}
			},
		},
		{
			name: "malformed output",
			yaml: `
modules:
  bad: {run: 'echo no equals sign >>"$MODPIPE_OUTPUT"'}
`,
			exit: 1,
			want: all(failed, "bad"),
		},
		{
			name: "condition on a result",
			yaml: `
modules:
  ask: {run: 'echo go=yes >>"$MODPIPE_OUTPUT"'}
  yes: {needs: [ask], if: needs.ask.outputs.go == 'yes', run: 'true'}
  no: {needs: [ask], if: "${{ needs.ask.outputs.go != 'yes' }}", run: 'true'}
  bad: {run: exit 1, ignore-failure: true}
  saw: {needs: [bad], if: needs.bad.status == 'ignored_failure', run: 'true'}
  family: {matrix: {n: [1, 2]}, if: matrix.n == '2', run: 'true'}
`,
			want: and(
				all(succeeded, "ask", "yes", "saw", "family (n=2)"), all(skipped, "no", "family (n=1)"), all(ignoredFailure, "bad"),
			),
		},
		{
			name: "condition that fails when it is evaluated",
			yaml: `
modules:
  ask: {run: 'echo list=not-json >>"$MODPIPE_OUTPUT"'}
  bad: {needs: [ask], if: "len(fromJSON(needs.ask.outputs.list)) > 0", run: 'true'}
`,
			exit:  1,
			want:  map[string]string{"ask": succeeded, "bad": failed},
			check: reasonNames("bad", "fromJSON"),
		},
		{
			name: "an output that was not set",
			yaml: `
fail-fast: false
modules:
  a: {run: 'echo set=1 >>"$MODPIPE_OUTPUT"'}
  reader: {needs: [a], env: {X: "${{ needs.a.outputs.missing }}"}, run: 'true'}
  default: {needs: [a], env: {X: "${{ needs.a.outputs.missing ?? 'none' }}"}, run: 'test "$X" = none'}
  always: {needs: [a], always-run: true, env: {X: "${{ needs.a.outputs.missing }}"}, run: 'test -z "$X"'}
`,
			exit:  1,
			want:  map[string]string{"a": succeeded, "reader": failed, "default": succeeded, "always": succeeded},
			check: reasonNames("reader", "missing", "set"),
		},
		{
			name: "20 MB of output",
			yaml: `
modules:
  big:
    run: |
      { printf big=; head -c 20000000 /dev/zero | tr '\0' x; echo; } >>"$MODPIPE_OUTPUT"
  needs:
    needs: [big]
    run: |
      test "$(wc -c <"$MODPIPE_NEEDS")" -gt 20000000
      test "$(tr -cd x <"$MODPIPE_NEEDS" | wc -c)" -ge 20000000
  stdin:
    needs: [big]
    stdin: "${{ needs.big.outputs.big }}"
    run: test "$(wc -c)" = 20000000
  env:
    needs: [big]
    env: {BIG: "${{ needs.big.outputs.big }}"}
    run: 'true'
    ignore-failure: true
`,
			want: and(all(succeeded, "big", "needs", "stdin"), all(ignoredFailure, "env")),
			check: func(t *testing.T, r *result) {
				reasonNames("env", "stdin")(t, r)
				sum := sha256.Sum256([]byte(strings.Repeat("x", 20000000)))
				big, _ := r.Report.module(t, "big").Outputs["big"].(map[string]any)
				if big["sha256"] != hex.EncodeToString(sum[:]) || big["bytes"] != float64(20000000) {
					t.Errorf("output in the report: %v", big)
				}
			},
		},
		{
			name: "retries",
			yaml: `
fail-fast: false
modules:
  third:
    retry: {attempts: 4, delay: 10ms, exit-codes: [75]}
    run: |
      echo "attempt $MODPIPE_ATTEMPT"
      echo "n=$MODPIPE_ATTEMPT" >>"$MODPIPE_OUTPUT"
      test "$MODPIPE_ATTEMPT" -ge 3 || exit 75
  filtered: {retry: {attempts: 4, delay: 10ms, exit-codes: [75]}, run: exit 3}
  spent: {retry: {attempts: 2, delay: 10ms}, run: exit 3}
  none: {run: exit 3}
  behind: {needs: [third], env: {N: "${{ needs.third.outputs.n }}"}, run: test "$N" = 3}
  slow: {retry: {attempts: 2, delay: 10ms}, timeout: 300ms, grace: 1s, run: sleep 300}
`,
			exit: 1,
			want: and(all(succeeded, "third", "behind"), all(failed, "filtered", "spent", "none"), all(timedOut, "slow")),
			check: func(t *testing.T, r *result) {
				for module, want := range map[string]string{
					"third": "failed, failed, succeeded", "filtered": "failed", "spent": "failed, failed", "none": "failed",
					"slow": "timed_out, timed_out",
				} {
					if got := r.Report.module(t, module).attempts(); got != want {
						t.Errorf("attempts of %s: %s, want %s", module, got, want)
					}
				}
				if got := r.output("third", "stdout"); !slices.Equal(got, []string{"attempt 1", "attempt 2", "attempt 3"}) {
					t.Errorf("third printed %q", got)
				}
				if codes := r.Report.module(t, "third").Attempts[0].ExitCode; codes == nil || *codes != 75 {
					t.Errorf("exit code of the first attempt: %v", codes)
				}
			},
		},
		{
			name: "what a failed attempt wrote, read by an always-run module",
			yaml: `
modules:
  bad: {run: 'echo left=behind >>"$MODPIPE_OUTPUT"; exit 1'}
  always: {needs: [bad], always-run: true, env: {X: "${{ needs.bad.outputs.left }}"}, run: test "$X" = behind}
`,
			exit: 1,
			want: map[string]string{"bad": failed, "always": succeeded},
		},
	})
}

func TestMatrix(t *testing.T) {
	two := make([]string, 200)
	for i := range two {
		two[i] = fmt.Sprintf("process (n=%d)", i)
	}
	runScenarios(t, []scenario{
		{
			name: "include and exclude",
			yaml: `
modules:
  build:
    matrix:
      os: [linux, windows]
      arch: [amd64, arm64]
      exclude: [{os: windows, arch: arm64}]
      include: [{os: linux, arch: amd64, cgo: "1"}, {os: plan9, arch: "386"}]
    run: 'echo "$MODPIPE_MATRIX_OS/$MODPIPE_MATRIX_ARCH${MODPIPE_MATRIX_CGO:+ cgo}" >>"$D/built"'
  all: {needs: [build], run: 'test $(wc -l <"$D/built") = 4'}
`,
			want: and(all(succeeded, "build (os=linux, arch=arm64)", "build (os=windows, arch=amd64)", "build (os=plan9, arch=386)", "all"),
				all(succeeded, "build (os=linux, arch=amd64, cgo=1)")),
			check: func(t *testing.T, r *result) {
				got := r.lines(t, "built")
				slices.Sort(got)
				if want := []string{"linux/amd64 cgo", "linux/arm64", "plan9/386", "windows/amd64"}; !slices.Equal(got, want) {
					t.Errorf("built %q, want %q", got, want)
				}
			},
		},
		{
			name: "same",
			yaml: `
fail-fast: false
modules:
  build: {matrix: {os: [linux, windows]}, run: test "$MODPIPE_MATRIX_OS" = linux}
  test: {needs: [{module: build, same: [os]}], matrix: {os: [linux, windows], n: [1, 2]}, run: 'true'}
`,
			exit: 1,
			want: map[string]string{
				"build (os=linux)": succeeded, "build (os=windows)": failed,
				"test (os=linux, n=1)": succeeded, "test (os=linux, n=2)": succeeded,
				"test (os=windows, n=1)": dependencyFailed, "test (os=windows, n=2)": dependencyFailed,
			},
		},
		{
			name: "family from a result, of none",
			yaml: `
modules:
  list: {run: 'echo "list=[]" >>"$MODPIPE_OUTPUT"'}
  process: {needs: [list], matrix: {n: "${{ fromJSON(needs.list.outputs.list) }}"}, run: 'true'}
  merge: {needs: [process], run: 'true'}
  maybe: {needs: [{module: process, optional: true}], run: 'true'}
`,
			want: map[string]string{"list": succeeded, "process": skipped, "merge": skipped, "maybe": succeeded},
		},
		{
			name: "family from a result, of one",
			yaml: `
modules:
  list: {run: 'echo "list=[\"a b\"]" >>"$MODPIPE_OUTPUT"'}
  process: {needs: [list], matrix: {n: "${{ fromJSON(needs.list.outputs.list) }}"}, run: 'test "$MODPIPE_MATRIX_N" = "a b"'}
  merge: {needs: [process], run: 'true'}
`,
			want: all(succeeded, "list", "process (n=a b)", "merge"),
		},
		{
			name: "family from a result, of 200, and same",
			yaml: `
modules:
  list:
    run: |
      printf 'list=[0' >>"$MODPIPE_OUTPUT"
      i=1; while [ $i -lt 200 ]; do printf ',%d' $i >>"$MODPIPE_OUTPUT"; i=$((i+1)); done
      echo ']' >>"$MODPIPE_OUTPUT"
  process:
    needs: [list]
    matrix: {n: "${{ fromJSON(needs.list.outputs.list) }}"}
    run: 'echo "n=$MODPIPE_MATRIX_N" >>"$MODPIPE_OUTPUT"'
  one: {needs: [{module: process, same: [n]}], matrix: {n: [7]}, run: 'true'}
  merge:
    needs: [process]
    stdin: "${{ toJSON(needs.process.members) }}"
    run: |
      test "$(grep -o succeeded | wc -l)" = 200
  count: {needs: [process], if: "len(needs.process.members) == 200 && needs.process.status == 'succeeded'", run: 'true'}
`,
			want: and(all(succeeded, two...), all(succeeded, "list", "one (n=7)", "merge", "count")),
			check: func(t *testing.T, r *result) {
				if !slices.ContainsFunc(r.Events, event{Event: "family.expanded", Module: "process"}.agrees) {
					t.Error("no event says that the family was expanded")
				}
			},
		},
		{
			name: "family from a result that is no list",
			yaml: `
modules:
  list: {run: 'echo list=nonsense >>"$MODPIPE_OUTPUT"'}
  process: {needs: [list], matrix: {n: "${{ fromJSON(needs.list.outputs.list) }}"}, run: 'true'}
  merge: {needs: [process], run: 'true'}
`,
			exit: 1,
			want: map[string]string{"list": succeeded, "process": failed, "merge": dependencyFailed},
		},
	})
}

func TestSelection(t *testing.T) {
	const yaml = `
modules:
  gen: {run: 'true', category: prepare}
  lint: {run: 'true', category: check}
  unit: {needs: [gen], run: 'true', category: check}
  docs: {run: 'true'}
  build: {needs: [gen, {module: docs, optional: true}], matrix: {os: [a, b]}, run: 'true'}
  deploy: {needs: [build, unit], run: 'true'}
  tidy: {needs: [unit], always-run: true, run: 'true'}
`
	modules := []string{"gen", "lint", "unit", "docs", "build (os=a)", "build (os=b)", "deploy", "tidy"}
	only := func(names ...string) map[string]string {
		return and(all(skipped, modules...), all(succeeded, names...))
	}
	notSelected := func(t *testing.T, r *result) {
		for _, m := range r.Report.Modules {
			if m.Status == skipped && m.Reason == "" {
				t.Errorf("%s is skipped without a reason", m.Name)
			}
		}
	}
	runScenarios(t, []scenario{
		{name: "all", yaml: yaml, want: all(succeeded, modules...)},
		{name: "only", yaml: yaml, args: []string{"--only", "UNIT"}, want: only("gen", "unit", "tidy"), check: checks(notSelected, reasonNames("docs", "not selected"))},
		{name: "only a family", yaml: yaml, args: []string{"--only", "build"}, want: only("gen", "build (os=a)", "build (os=b)")},
		{name: "category", yaml: yaml, args: []string{"--category", "check"}, want: only("gen", "lint", "unit", "tidy")},
		{name: "they add up", yaml: yaml, args: []string{"--category", "prepare", "--only", "docs"}, want: only("gen", "docs")},
		{name: "skip wins", yaml: yaml, args: []string{"--only", "deploy", "--only", "lint", "--skip", "lint"}, want: only("gen", "unit", "build (os=a)", "build (os=b)", "deploy", "tidy")},
		{name: "skip", yaml: yaml, args: []string{"--skip", "gen"}, want: only("lint", "docs"), check: reasonNames("deploy", "gen")},
		{name: "skip category", yaml: yaml, args: []string{"--skip-category", "check"}, want: only("gen", "docs", "build (os=a)", "build (os=b)")},
	})
}
