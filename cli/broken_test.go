package cli_test

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// TestUnreadableRun: a run whose log is corrupt is listed as what it is, and
// commands about it say what to do.
func TestUnreadableRun(t *testing.T) {
	prog, c := onServer(t)
	p := &pipeline.Pipeline{Name: "p", Modules: []*pipeline.Module{{Name: "m", Command: &pipeline.Command{Run: "true"}}}}
	for _, run := range []jobs.RunID{"good", "bad"} {
		if err := client.New(c).Submit(t.Context(), &jobs.Spec{Run: run, Pipeline: p}); err != nil {
			t.Fatal(err)
		}
	}
	odd := jobs.Record{Expansion: &jobs.Expansion{Module: "no-such-family"}}
	if _, err := c.Runs.Append(t.Context(), "bad", "", 0, odd); err != nil {
		t.Fatal(err)
	}
	_, stdout, _ := prog.exec(t, "runs", "list")
	wantAll(t, stdout, "bad   p         unreadable", "good  p         running")
	_, stdout, _ = prog.exec(t, "runs", "list", "-o", "json")
	wantAll(t, stdout, `"error": "the log of the run is corrupt: an expansion of`)
	for _, command := range []string{"show", "cancel", "wait"} {
		code, _, stderr := prog.exec(t, "runs", command, "bad")
		if code != 3 {
			t.Errorf("runs %s: exit %d", command, code)
		}
		wantAll(t, stderr, "run bad:", "is corrupt", "`nats stream purge MP_RUNS --subject='mp.run.bad.>'`")
	}
	code, _, stderr := prog.exec(t, "resume", "bad")
	if code != 3 {
		t.Errorf("resume: exit %d", code)
	}
	wantAll(t, stderr, "is corrupt", "nats stream purge MP_RUNS")
}

// TestRunsEnd: what cannot be handled is listed with its problem, and ended by
// force alone.
func TestRunsEnd(t *testing.T) {
	prog, c := onServer(t)
	if _, err := c.Request(t.Context(), &nats.Msg{Subject: "mp.run.bad.spec", Data: []byte("no specification")}); err != nil {
		t.Fatal(err)
	}
	_, stdout, _ := prog.exec(t, "runs", "list")
	wantAll(t, stdout, "PROBLEM", "bad", "unreadable", "newer version of modpipe")
	for _, tt := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"runs", "end", "bad"}, 2, "--force"},
		{[]string{"runs", "end", "none", "--force"}, 5, "there is no run none here"},
		{[]string{"runs", "end", "bad", "--force", "--reason", "it is broken"}, 0, "run bad has been ended"},
		{[]string{"runs", "end", "bad", "--force"}, 5, "has ended already"},
		{[]string{"runs", "wait", "bad"}, 1, ""},
	} {
		code, _, stderr := prog.exec(t, tt.args...)
		if code != tt.code {
			t.Errorf("%v: exit %d", tt.args, code)
		}
		wantAll(t, stderr, tt.text)
	}
	_, stdout, _ = prog.exec(t, "runs", "show", "bad")
	wantAll(t, stdout, "failed", "it is broken")
}
