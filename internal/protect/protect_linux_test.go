package protect_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/modpipe/modpipe/internal/protect"
)

const asChild = "PROTECT_TEST_CHILD"

// TestMain is also the process that is protected, and what it starts.
func TestMain(m *testing.M) {
	switch os.Getenv(asChild) {
	case "":
		os.Exit(m.Run())
	case "open":
	default:
		protect.Process()
	}
	fmt.Println("ready", protect.Missing())
	child := exec.CommandContext(context.Background(), "sh", "-c", "cat /proc/$PPID/environ; echo end")
	child.Stdout, child.Stderr = os.Stdout, os.Stdout
	_ = child.Run()
	os.Exit(0)
}

// protected runs this test as another process, as a user who is not root.
func protected(t *testing.T, how string) string {
	t.Helper()
	// The file of this program may lie where others cannot read it.
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = []string{asChild + "=" + how, "TOKEN=of-the-environment", "PATH=" + os.Getenv("PATH")}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatal(err, out.String())
	}
	if !strings.Contains(out.String(), "end") {
		t.Fatalf("the command did not run: %s", out.String())
	}
	return out.String()
}

// TestCommandsOfTheSameUserAreKeptOut of the environment.
func TestCommandsOfTheSameUserAreKeptOut(t *testing.T) {
	open := protected(t, "open")
	if !strings.Contains(open, "of-the-environment") || !strings.Contains(open, "can read the memory") {
		t.Fatalf("without protection the test finds nothing: %s", open)
	}
	got := protected(t, "protected")
	if strings.Contains(got, "of-the-environment") {
		t.Errorf("the environment can be read: %s", got)
	}
	if strings.Contains(got, "can read the memory") {
		t.Errorf("it does not know that it is protected: %s", got)
	}
}

// TestInheritedFilesAreNotPassedOn to commands.
func TestInheritedFilesAreNotPassedOn(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := unix.FcntlInt(r.Fd(), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	list := func() string {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "ls /proc/$$/fd").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	fd := strconv.Itoa(int(r.Fd()))
	if !strings.Contains("\n"+list(), "\n"+fd+"\n") {
		t.Fatal("the test passes nothing on")
	}
	protect.Process()
	if got := list(); strings.Contains("\n"+got, "\n"+fd+"\n") {
		t.Errorf("%s is passed on: %s", fd, got)
	}
	if missing := protect.Missing(); missing != "" {
		t.Error(missing)
	}
}
