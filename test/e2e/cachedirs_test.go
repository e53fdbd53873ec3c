package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const keeps = `
name: e2e
modules:
  first: &keep
    outputs: [had, kept]
    cache-dirs:
      mod: {env: MODS, key: "mod-${{ hashFiles('go.sum') }}"}
      out: {path: kept, key: out}
    run: |
      echo "had=$(ls "$MODS" | tr '\n' ' ')" >>"$MODPIPE_OUTPUT"
      echo "kept=$(ls kept 2>/dev/null | tr '\n' ' ')" >>"$MODPIPE_OUTPUT"
      mkdir -p kept; echo x >"$MODS/$MODPIPE_MODULE"; echo x >"kept/$MODPIPE_MODULE"
  second: {<<: *keep, needs: first}
`

// TestCacheDirectories: a directory elsewhere is kept in each way, and one below the
// workspace where the workspace belongs to the attempt. A run says once that it is not.
func TestCacheDirectories(t *testing.T) {
	inEachDirectory(t, func(t *testing.T, p *place) {
		p.repository(t, map[string]string{"go.sum": "1"})
		inPlace := len(p.runArgs) == 2 && p.mode == standalone
		res := p.start(t, keeps).result(t)
		res.want(t, 0, all(succeeded, "first", "second"))
		second := res.Report.module(t, "second")
		if second.Outputs["had"] != "first " || second.Outputs["kept"] != "first " {
			t.Errorf("the second module had %v", second.Outputs)
		}
		if said := strings.Count(strings.Join(res.Report.Warnings, "\n"), "neither restored nor stored"); said != map[bool]int{true: 1}[inPlace] {
			t.Errorf("it says %d times that a directory is not kept: %q", said, res.Report.Warnings)
		}
		if err := os.RemoveAll(filepath.Join(p.workspace, "kept")); err != nil {
			t.Fatal(err)
		}
		p.commit(t, map[string]string{"go.sum": "2"})
		res = p.start(t, keeps).result(t)
		res.want(t, 0, all(succeeded, "first", "second"))
		first := res.Report.module(t, "first")
		if kept := map[bool]string{false: "first "}[inPlace]; first.Outputs["had"] != "" || first.Outputs["kept"] != kept {
			t.Errorf("the next run had %v, want %q of the workspace and nothing elsewhere", first.Outputs, kept)
		}
	})
}
