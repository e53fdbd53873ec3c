//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package progress

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// inForeground reports whether a terminal is ours to draw on. The shell gives
// it to one group of processes at a time.
func inForeground(f *os.File) bool {
	group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}

// muteEcho keeps keys that are pressed out of the picture, until the function
// it returns is called. Only that one mode is changed, so that nothing else is
// undone with it; in the background the terminal is left alone, because
// touching it there would stop the process.
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

// watchResumed calls resumed whenever the process goes on after a stop (Ctrl-Z).
func watchResumed(done <-chan struct{}, resumed func()) {
	signals := make(chan os.Signal, 1) // several at once are one
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
