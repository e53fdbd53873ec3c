package function

import (
	"context"
	"io"
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
	return call.Response{Began: true, Result: []byte(req.Secrets["CERT"])}
}

func TestFunctionReceivesItsSecrets(t *testing.T) {
	value := strings.Repeat("line one\nline two\n", 5000) // longer than a pipe holds
	for name, program := range map[string]call.Program{"here": teller{}, "in a process of its own": Isolated(reader{})} {
		task := &exec.Task{
			Job: &jobs.Job{Func: &jobs.FuncJob{Name: "secret"}}, Stops: exectest.NewStops(),
			Secrets: []mask.Secret{{Name: "CERT", Env: "OTHER", Value: value}},
		}
		r := exec.Run(t.Context(), Executor{Program: program}, task, &exectest.Output{})
		if r.Status != report.AttemptSucceeded || string(r.Value) != value {
			t.Errorf("%s: it is %s, %.40q: %s", name, r.Status, r.Value, r.Error)
		}
	}
}

func TestSecretsAreNotReadPastTheirLimit(t *testing.T) {
	if _, err := receiveSecrets(strings.NewReader("\xff\xff\xff\xff")); err == nil || err == io.ErrUnexpectedEOF {
		t.Errorf("a length beyond the limit: %v", err)
	}
}
