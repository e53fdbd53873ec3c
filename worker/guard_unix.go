//go:build unix

package worker

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
)

// guard ends commands whose worker was killed: a key is not held by what a
// dead worker has left behind. It is a shell that is told which groups run,
// and kills them when the worker is gone and the pipe between them ends.
type guard struct {
	cmd *exec.Cmd

	mu sync.Mutex // for whole lines
	w  *os.File
}

const guardScript = `trap '' INT TERM HUP
all=' '
while read -r op group; do
	case $op in
	+) all="$all$group " ;;
	-) all="${all%% $group *} ${all#* $group }" ;;
	esac
done
for group in $all; do kill -s KILL -- "-$group" 2>/dev/null; done
exit 0`

// newGuard starts one. Without a shell there is none, and that is no fault.
func newGuard() (*guard, error) {
	path, err := exec.LookPath("sh")
	if err != nil {
		return nil, fmt.Errorf("find a shell to guard what runs: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // the shell has its own
	g := &guard{cmd: &exec.Cmd{Path: path, Args: []string{"sh", "-c", guardScript}, Env: []string{}, Dir: "/", Stdin: r}, w: w}
	ownSession(g.cmd)
	if err := g.cmd.Start(); err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	return g, nil
}

// begun and ended tell it of a group. A guard that is gone is not missed.
func (g *guard) begun(group int) { g.tell('+', group) }
func (g *guard) ended(group int) { g.tell('-', group) }

func (g *guard) tell(op byte, group int) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	_, _ = fmt.Fprintf(g.w, "%c %d\n", op, group)
}

// close ends it; no group runs any more.
func (g *guard) close() {
	if g == nil {
		return
	}
	_ = g.w.Close()
	_ = g.cmd.Wait()
}
