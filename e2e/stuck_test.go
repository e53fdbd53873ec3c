package e2e

import (
	"bufio"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestStuckTerminal: a run whose messages nobody reads, as those on a terminal
// that somebody has stopped, goes on to its end, and says everything when
// somebody reads.
func TestStuckTerminal(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *place) {
		dir := p.dir(t)
		file := p.file(t, `
name: e2e
modules:
  loud: {run: 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo "line $i of many, which are longer than any pipe holds"; done'}
  next: {needs: loud, run: 'echo there >>"$D/log"'}
`)
		args := append([]string{"run", file, "--progress", "plain", "--env", "D=" + dir}, p.connection()...)
		cmd := exec.CommandContext(t.Context(), binaries.orchestrator, append(args, p.runArgs...)...)
		cmd.Dir, cmd.Env = p.workspace, p.env()
		said, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		awaitFile(t, filepath.Join(dir, "log"), "there")
		lines, other := 0, ""
		for s := bufio.NewScanner(said); s.Scan(); {
			if strings.Contains(s.Text(), fmt.Sprintf("line %d of many", lines+1)) {
				lines++
			} else {
				other += s.Text() + "\n"
			}
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, other)
		}
		if lines != 20000 || strings.Contains(other, "of many") || !strings.Contains(other, "run succeeded") {
			t.Errorf("%d lines, and\n%.2000s", lines, other)
		}
	})
}
