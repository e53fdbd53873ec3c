package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// view measures the CPU time that the live view adds to a run, its
// processes' included: `view [-work W] [-pairs N]`. Runs without and with it
// come in pairs, in turn first, and each is compared with its partner only:
// the machine's speed drifts. Both have a terminal, and its output is read.
func view(args []string) error {
	set := flag.NewFlagSet("view", flag.ContinueOnError)
	name := set.String("work", "F", "a work; \"commands\" is 1,500 commands that do nothing")
	pairs := set.Int("pairs", 15, "how many")
	if err := set.Parse(args); err != nil {
		return err
	}
	w, err := workNamed(*name)
	if err != nil {
		return err
	}
	var added []float64
	for i := range *pairs {
		var took [2]time.Duration // without, with
		for k := range took {
			with := (i+k)%2 == 1
			t, err := viewOnce(w, with)
			if err != nil {
				return err
			}
			if with {
				took[1] = t
			} else {
				took[0] = t
			}
		}
		percent := 100 * (took[1].Seconds()/took[0].Seconds() - 1)
		added = append(added, percent)
		fmt.Printf("%s without %.2f s, with the view %.2f s: %+.1f %%\n", w.name, took[0].Seconds(), took[1].Seconds(), percent)
	}
	slices.SortFunc(added, cmp.Compare[float64])
	n := len(added)
	fmt.Printf("%s: the live view adds %+.1f %% of CPU time (median of %d pairs; the middle half is from %+.1f to %+.1f)\n",
		w.name, (added[(n-1)/2]+added[n/2])/2, n, added[n/4], added[n-1-n/4])
	return nil
}

// viewOnce runs a work on a terminal and returns the CPU time that it took.
func viewOnce(w work, with bool) (time.Duration, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // of the temporary directory
	master, slave, err := terminal()
	if err != nil {
		return 0, fmt.Errorf("open a terminal: %w", err)
	}
	read := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, master) // ends when the other side is closed
		read <- n
	}()
	progress := "quiet"
	if with {
		progress = "tty"
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, "program", w.name, "run", "--progress", progress, "--store", dir+"/store", "--workspace", dir, "--max-parallel", strconv.Itoa(w.slots())) //nolint:noctx // it ends by itself
	cmd.Env = append(os.Environ(), "TERM=xterm-256color")
	cmd.Stdin, cmd.Stderr = slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	err = errors.Join(err, slave.Close())
	drawn := <-read
	if err = errors.Join(err, master.Close()); err != nil {
		return 0, err
	}
	if with && drawn < 500 {
		return 0, fmt.Errorf("the terminal was given %d bytes: there was no view", drawn)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// terminal is both sides of one.
func terminal() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	return master, slave, unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 120, Row: 40})
}
