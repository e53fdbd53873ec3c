//go:build linux

package orphans

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/modpipe/modpipe/internal/exec/exectest"
	"github.com/modpipe/modpipe/internal/procfs"
)

const (
	setSubreaper = 36 // of prctl: this process inherits orphans, as the first one of a container does
	prctl        = syscall.SYS_PRCTL
)

// TestOrphansAreCollectedAndWhatIsWaitedForIsNot: a sweep takes dead orphans
// off the table, and leaves the exit status of what was started here.
func TestOrphansAreCollectedAndWhatIsWaitedForIsNot(t *testing.T) {
	if _, _, errno := syscall.Syscall(prctl, setSubreaper, 1, 0); errno != 0 {
		t.Fatal(errno)
	}
	own := &exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", "exit 7"}, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if err := Start(own); err != nil {
		t.Fatal(err)
	}
	parent := exec.CommandContext(t.Context(), "/bin/sh", "-c", "sleep 0.1 >/dev/null & echo $!")
	parent.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := parent.Output()
	if err != nil {
		t.Fatal(err)
	}
	orphan, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	exectest.Until(t, "both are dead", func() bool {
		a, _ := procfs.StatOf(orphan)
		b, _ := procfs.StatOf(own.Process.Pid)
		return a.Dead && b.Dead
	})
	sweep()
	if _, err := os.Stat("/proc/" + strconv.Itoa(orphan)); !os.IsNotExist(err) {
		t.Errorf("the orphan is still on the table: %v", err)
	}
	_ = own.Wait()
	Done(own.Process.Pid)
	if code := own.ProcessState.ExitCode(); code != 7 {
		t.Errorf("exit code %d of what was waited for, want 7", code)
	}
}
