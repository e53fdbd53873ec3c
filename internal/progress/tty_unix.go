//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package progress

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// inForeground reports whether we may draw on a terminal. The shell gives it to one group
// of processes at a time.
func inForeground(f *os.File) bool {
	group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}

// muteEcho turns echo off, so that keys do not appear in the picture. The function that
// it returns turns echo on again. muteEcho changes only that one mode, so that it restores
// only that one. In the background it does nothing, because a change there would stop the
// process.
func muteEcho(f *os.File) (undo func()) {
	fd := int(f.Fd())
	old, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil || old.Lflag&unix.ECHO == 0 || !inForeground(f) {
		return func() {}
	}
	setEcho(fd, false)
	return func() {
		if inForeground(f) {
			setEcho(fd, true)
		}
	}
}

func setEcho(fd int, on bool) {
	t, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return
	}
	t.Lflag &^= unix.ECHO
	if on {
		t.Lflag |= unix.ECHO
	}
	_ = unix.IoctlSetTermios(fd, setTermios, t)
}

// watchResumed calls resumed whenever the process continues after a stop (Ctrl-Z).
func watchResumed(done <-chan struct{}, resumed func()) {
	signals := make(chan os.Signal, 1) // several pending signals count as one
	signal.Notify(signals, syscall.SIGCONT)
	defer signal.Stop(signals)
	for {
		select {
		case <-signals:
			resumed()
		case <-done:
			return
		}
	}
}
