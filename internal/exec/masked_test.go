package exec_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/internal/exec/exectest"
	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

const token = "gh/tok+en-0123456789"

// ended is an executor whose tasks have ended with a result, and written pieces.
type ended struct {
	result exec.Result
	pieces []string
	err    error
}

func (x ended) Start(_ context.Context, _ *exec.Task, out exec.Sink) (exec.Handle, error) {
	for i, p := range x.pieces {
		out.Write([]jobs.Stream{jobs.Stdout, jobs.Stderr}[i%2], []byte(p))
	}
	return x, x.err
}
func (x ended) Wait() exec.Result        { return x.result }
func (ended) Stop(exec.Stop)             {}
func (ended) Ran() (time.Duration, bool) { return 0, true }

func runMasked(t *testing.T, x ended) (exec.Result, *exectest.Output) {
	t.Helper()
	secrets := []mask.Secret{{Name: "TOKEN", Value: token}, {Name: "PIN", Value: "4711", AllowShort: true}}
	out := &exectest.Output{}
	task := &exec.Task{Job: &jobs.Job{}, Stops: exectest.NewStops(), Secrets: secrets, Mask: mask.New(secrets)}
	return exec.Run(t.Context(), x, task, out), out
}

// TestOutputIsMaskedAtEveryCut on both streams, whose pieces alternate.
func TestOutputIsMaskedAtEveryCut(t *testing.T) {
	text := "a " + token + " b " + base64.StdEncoding.EncodeToString([]byte("user:"+token)) + "\n"
	for cut := range len(text) {
		head, tail := text[:cut], text[cut:]
		_, out := runMasked(t, ended{pieces: []string{head, head, tail, tail}})
		if want := "a *** b dXNlcjp***\n"; out.Stdout() != want || out.Stderr() != want {
			t.Fatalf("cut at %d: %q and %q, want %q", cut, out.Stdout(), out.Stderr(), want)
		}
	}
}

// TestCutValueAtTheEndIsMasked: a command may be killed while it writes.
func TestCutValueAtTheEndIsMasked(t *testing.T) {
	_, out := runMasked(t, ended{pieces: []string{"x " + token[:len(token)-1]}})
	if out.Stdout() != "x ***" {
		t.Errorf("%q", out.Stdout())
	}
}

func TestTextsOfAResultAreMasked(t *testing.T) {
	r, _ := runMasked(t, ended{result: exec.Result{
		Status: report.AttemptFailed, Error: "panic: " + token, Reason: fmt.Sprintf("%q", token+"\n"),
		Warnings: []string{"w", "pass " + token}, OutputFault: errors.New("line " + token),
	}})
	want := exec.Result{Status: report.AttemptFailed, Error: "panic: ***", Reason: `"***\n"`, Warnings: []string{"w", "pass ***", "line ***"}}
	r.OutputFault = nil
	if d := cmp.Diff(want, r); d != "" {
		t.Error(d)
	}
	r, _ = runMasked(t, ended{err: errors.New("cannot start " + token)})
	if r.Error != "cannot start ***" {
		t.Errorf("%+v", r)
	}
}

// TestOutputWithASecretFailsTheAttempt, in any form, in a value or in a name; the other
// outputs are kept for modules that always run.
func TestOutputWithASecretFailsTheAttempt(t *testing.T) {
	outputs := map[string]string{"ok": "1", "pin": "4711", "url": "https://x:" + strings.ReplaceAll(token, "/", "%2F") + "@y", "z-" + token: "v"}
	outputs["url"] = strings.ReplaceAll(outputs["url"], "+", "%2B")
	for _, row := range []struct {
		was, is report.AttemptStatus
		error   string
	}{
		{report.AttemptSucceeded, report.AttemptFailed, `output "url" contains the secret TOKEN`},
		{report.AttemptFailed, report.AttemptFailed, "exit code 1"},
	} {
		r, _ := runMasked(t, ended{result: exec.Result{Status: row.was, Error: map[bool]string{true: "exit code 1"}[row.was == report.AttemptFailed], Outputs: outputs}})
		if r.Status != row.is || !strings.Contains(r.Error, row.error) || r.Permanent != (row.was == report.AttemptSucceeded) {
			t.Errorf("after %s: %s %q, permanent %v", row.was, r.Status, r.Error, r.Permanent)
		}
		if d := cmp.Diff(map[string]string{"ok": "1", "pin": "4711"}, r.Outputs); d != "" {
			t.Error(d)
		}
		texts := r.Error + strings.Join(r.Warnings, "\n")
		if !strings.Contains(texts, `output "z-***" contains the secret TOKEN`) || strings.Contains(texts, token) {
			t.Errorf("after %s: %s", row.was, texts)
		}
	}
}

func TestResultWithASecretFailsTheAttempt(t *testing.T) {
	r, _ := runMasked(t, ended{result: exec.Result{Status: report.AttemptSucceeded, Typed: true, Value: []byte("\xa0" + token)}})
	if r.Status != report.AttemptFailed || r.Typed || r.Value != nil || !r.Permanent || !strings.Contains(r.Error, "its result contains the secret TOKEN") {
		t.Errorf("%+v", r)
	}
}
