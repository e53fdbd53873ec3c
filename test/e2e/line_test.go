package e2e

import (
	"strings"
	"testing"
)

// Every place that shows the error of a script has the line at which it failed. The script
// runs as without the option.
func TestFailedScriptNamesItsLine(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *place) {
		r := p.run(t, `
name: e2e
fail-fast: false
modules:
  first: {retry: {attempts: 2, delay: 1ms}, run: "echo a\ncp /nonexistent b\necho c\n"}
  last: {shell: bash, run: "echo $LINENO $0\n\nexit 7\n"}
  own-trap: {run: "trap 'echo bye $?' EXIT\nfalse && true\necho status $?\n(exit 5)\necho c\n"}
  one-line: {run: "false"}
`)
		r.want(t, 1, all(failed, "first", "last", "own-trap", "one-line"))
		shown := p.orchestrator(t, "runs", "show", r.Report.Run).stdout.String()
		for module, want := range map[string]string{
			"first":    "exit code 1 at line 2: cp /nonexistent b",
			"last":     "exit code 7 at line 3: exit 7",
			"own-trap": "exit code 5 at line 4: (exit 5)",
			"one-line": "exit code 1",
		} {
			m := r.Report.module(t, module)
			if !strings.HasSuffix(m.Error, want) {
				t.Errorf("%s: error %q, want %q at its end", module, m.Error, want)
			}
			for _, a := range m.Attempts {
				if a.Error != want {
					t.Errorf("%s: error %q of attempt %d, want %q", module, a.Error, a.Number, want)
				}
			}
			if !strings.Contains(shown, want) {
				t.Errorf("%q is not in:\n%s", want, shown)
			}
		}
		if got := strings.Join(append(r.output("last", "stdout"), r.output("own-trap", "stdout")...), "|"); got != "1 bash|status 1|bye 5" {
			t.Errorf("they printed %q", got)
		}
	})
}
