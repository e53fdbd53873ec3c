package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

func TestVerdictCodes(t *testing.T) {
	noWorker := report.Module{Status: "failed", NoWorker: true, Error: "no capable worker within 5m (queue-timeout): missing tag gpu"}
	failed := report.Module{Status: "failed", Error: "exit code 1"}
	behind := report.Module{Status: "dependency_failed", Error: "a failed: no capable worker"}
	for name, c := range map[string]struct {
		status  report.RunStatus
		modules []report.Module
		cancel  *jobs.Cancel
		want    int
	}{
		"succeeded":           {status: report.RunSucceeded, want: 0},
		"failed":              {status: report.RunFailed, modules: []report.Module{failed}, want: 1},
		"no worker":           {status: report.RunFailed, modules: []report.Module{noWorker, behind}, want: 4},
		"no worker and worse": {status: report.RunFailed, modules: []report.Module{noWorker, failed}, want: 1},
		"deadline":            {status: report.RunCancelled, cancel: &jobs.Cancel{Deadline: true}, want: 4},
		"INT":                 {status: report.RunCancelled, cancel: &jobs.Cancel{By: bySignal, Reason: "interrupted by SIGINT"}, want: 130},
		"TERM":                {status: report.RunCancelled, cancel: &jobs.Cancel{By: bySignal, Reason: "interrupted by SIGTERM"}, want: 143},
		"HUP":                 {status: report.RunCancelled, cancel: &jobs.Cancel{By: bySignal, Reason: "interrupted by SIGHUP"}, want: 129},
		"runs cancel":         {status: report.RunCancelled, cancel: &jobs.Cancel{By: "me@here"}, want: 1},
		"not ended":           {status: report.RunRunning, want: 3},
	} {
		v := verdict{report: &report.Report{Status: c.status, Modules: c.modules}, cancel: c.cancel}
		if got := v.code(); got != c.want {
			t.Errorf("%s: exit code %d, not %d", name, got, c.want)
		}
	}
}

func TestErrorCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{broker.ErrUnreachable, 3},
		{broker.ErrDenied, 3},
		{broker.ErrNotFound, 5},
		{client.ErrExists, 5},
		{client.ErrEnded, 5},
		{kv.ErrTaken, 5},
		{exit.Usagef("x"), 2},
		{exit.SignalError{Signal: os.Interrupt}, 130},
		{exit.SignalError{Signal: syscall.SIGHUP}, 129},
		{errors.New("a disk"), 3},
	} {
		if got, _ := explain(fmt.Errorf("context: %w", c.err)); got != c.want {
			t.Errorf("%v: exit code %d, not %d", c.err, got, c.want)
		}
	}
}

func TestEnvFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "env")
	text := "# a comment\n\nA=1\nexport B = two words # said\nC='it''s'\nD=\"a\\nb \\\"c\\\" # d\" # e\nE=\nF=x#y\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, faults := readEnvFile(path); len(faults) != 1 { // C
		t.Error("what follows a quoted value passed")
	}
	text = "\uFEFF# a comment\r\n\nA=1\r\nexport B = two words # said\nC='its \\n'\nD=\"a\\nb \\\"c\\\" # d\" # e\nE=\nF=x#y\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, faults := readEnvFile(path)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	want := []settings.Pair{{Key: "A", Value: "1"}, {Key: "B", Value: "two words"}, {Key: "C", Value: `its \n`}, {Key: "D", Value: "a\nb \"c\" # d"}, {Key: "E", Value: ""}, {Key: "F", Value: "x#y"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(settings.Pair{})); diff != "" {
		t.Error(diff)
	}
}

// A file that is far too large is not read to its end.
func TestReadFileIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<30); err != nil {
		t.Fatal(err)
	}
	src, err := readFile(path)
	if err != nil || len(src) != pipeline.MaxFileSize+1 {
		t.Errorf("%d bytes were read: %v", len(src), err)
	}
}

func TestListen(t *testing.T) {
	for listen, want := range map[string]bool{"127.0.0.1:0": false, "localhost:1": false, "[::1]:1": false, ":1": true, "0.0.0.0:1": true, "build.example:1": true} {
		if open, err := access.CheckListen(listen); err != nil || open != want {
			t.Errorf("%s: %t, %v", listen, open, err)
		}
	}
}

func TestWords(t *testing.T) {
	if got := phrase.DidYouMean("max-paralel", []string{"max-parallel", "report"}); got != ": did you mean max-parallel?" {
		t.Error(got)
	}
	if got := phrase.DidYouMean("xyz", []string{"max-parallel"}); got != "" {
		t.Error(got)
	}
	for s, want := range map[float64]string{0.04: "0.0s", 59.9: "59.9s", 61.5: "1m01s", 3725: "1h02m"} {
		if got := phrase.Seconds(s); got != want {
			t.Errorf("%g: %s, not %s", s, got, want)
		}
	}
	if got := jobs.ShortDuration(10 * time.Minute); got != "10m" {
		t.Error(got)
	}
	a, b := newRunID(time.Unix(0, 0)), newRunID(time.Unix(1, 0))
	if !jobs.ValidID(string(a)) || a >= b {
		t.Errorf("run ids %s, %s", a, b)
	}
}
