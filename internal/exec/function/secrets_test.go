package function

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/internal/exec/exectest"
	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// teller is a program whose function returns what it knows of a secret.
type teller struct{ call.Program }

func (teller) Call(_ context.Context, req call.Request) call.Response {
	return call.Response{Began: true, Result: []byte(told(req))}
}

// told is the secret of a request, in a form that is not masked.
func told(req call.Request) string {
	text := []rune(req.Secrets[0].Value)
	slices.Reverse(text)
	return string(text)
}

func TestFunctionReceivesItsSecrets(t *testing.T) {
	value := strings.Repeat("line one\nline two\n", 5000) // longer than a pipe holds
	for name, program := range map[string]call.Program{"here": teller{}, "in a process of its own": Isolated(reader{})} {
		task := &exec.Task{
			Job: &jobs.Job{Func: &jobs.FuncJob{Name: "secret"}}, Stops: exectest.NewStops(),
			Secrets: []mask.Secret{{Name: "CERT", Env: "OTHER", Value: value}},
		}
		r := exec.Run(t.Context(), Executor{Program: program}, task, &exectest.Output{})
		if r.Status != report.AttemptSucceeded || string(r.Value) != told(call.Request{Secrets: task.Secrets}) {
			t.Errorf("%s: it is %s, %.40q: %s", name, r.Status, r.Value, r.Error)
		}
	}
}

func TestSecretsAreNotReadPastTheirLimit(t *testing.T) {
	if _, err := receiveSecrets(strings.NewReader("\xff\xff\xff\xff")); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a length beyond the limit: %v", err)
	}
}

// TestProcessOfAFunctionWritesNoSecret: its response is a file.
func TestProcessOfAFunctionWritesNoSecret(t *testing.T) {
	secrets := []mask.Secret{{Name: "TOKEN", Value: "0123456789"}}
	res := without(secrets, call.Response{Began: true, Result: []byte("x0123456789"), RetryAfter: 1})
	if !res.Began || res.Result != nil || !res.Permanent || !strings.Contains(res.Error, "its result contains the secret TOKEN") {
		t.Errorf("%+v", res)
	}
	res = without(secrets, call.Response{Error: "x0123456789", Reason: "y0123456789", Result: []byte("z")})
	if res.Error != "x***" || res.Reason != "y***" || string(res.Result) != "z" {
		t.Errorf("%+v", res)
	}
}
