// Package pty runs programs in a pseudo-terminal, for tests.
package pty

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Terminal is a pseudo-terminal, in which a program may run.
type Terminal struct {
	master *os.File
	Slave  *os.File  // where the program reads and writes
	Cmd    *exec.Cmd // the program; nil before Start
	mu     sync.Mutex
	screen bytes.Buffer // guarded by mu: all that was written
	news   chan struct{}
}

// Open opens a pseudo-terminal of 80 columns and 24 rows, until the test ends.
func Open(t testing.TB) *Terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	term := &Terminal{master: master, Slave: slave, news: make(chan struct{}, 1)} // one is enough to look again
	term.Resize(t, 80, 24)
	return term
}

// Resize changes the size of the terminal.
func (p *Terminal) Resize(t testing.TB, columns, rows uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(p.Slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
}

// Modes are the settings of the terminal.
func (p *Terminal) Modes(t testing.TB) unix.Termios {
	t.Helper()
	modes, err := unix.IoctlGetTermios(int(p.Slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *modes
}

// Start runs a command as a shell does: the terminal is its controlling one.
func (p *Terminal) Start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	p.Cmd = cmd
	p.Cmd.Stdin, p.Cmd.Stdout, p.Cmd.Stderr = p.Slave, p.Slave, p.Slave
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.Read()
}

// Read collects the output to the terminal until the terminal is closed.
func (p *Terminal) Read() {
	buffer := make([]byte, 4096)
	for {
		n, err := p.master.Read(buffer)
		p.mu.Lock()
		p.screen.Write(buffer[:n])
		p.mu.Unlock()
		select {
		case p.news <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// Text returns the program's output.
func (p *Terminal) Text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.String()
}

// Await waits until the program has written text.
func (p *Terminal) Await(t testing.TB, text string) {
	t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for !strings.Contains(p.Text(), text) {
		select {
		case <-p.news:
		case <-limit.C:
			t.Fatalf("no %q in\n%q", text, p.Text())
		}
	}
}

// Press types keys.
func (p *Terminal) Press(t testing.TB, keys string) {
	t.Helper()
	if _, err := io.WriteString(p.master, keys); err != nil {
		t.Fatal(err)
	}
}

// Wait waits until the program has ended, and returns its exit code.
func (p *Terminal) Wait(t testing.TB) (code int) {
	t.Helper()
	err := p.Cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.Cmd.ProcessState.ExitCode()
}

// Sane checks that the terminal has its former modes, and a visible cursor.
func (p *Terminal) Sane(t testing.TB, before unix.Termios) {
	t.Helper()
	if after := p.Modes(t); after != before {
		t.Errorf("modes were\n%+v\nand are\n%+v", before, after)
	}
	text := p.Text()
	if strings.LastIndex(text, "\x1b[?25l") > strings.LastIndex(text, "\x1b[?25h") {
		t.Errorf("the cursor is hidden after\n%q", text)
	}
	for _, code := range []string{"\x1b[?1049", "\x1b[?2004", "\x1b[c", "\x1b[?u", "\x1b]1", "\x1b[?2026$p", "\x1b[0 q", "\x1b[1 q", "\x1b[2 q"} {
		if strings.Contains(text, code) {
			t.Errorf("%q in\n%q", code, text)
		}
	}
}
