package orchestrator_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

const knownSource = "name: p\nparams: {channel: {type: string, default: dev}}\nmodules: {a: {run: 'true'}}\n"

func specOf(t *testing.T, file, src string, params map[string]string) *jobs.Spec {
	t.Helper()
	f, err := pipeline.Parse(file, []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Bind(params, os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	return &jobs.Spec{Run: "r1", Pipeline: p, Env: []pipeline.KeyValue{{Key: "A", Value: "1"}, {Key: "B", Value: "2"}}}
}

// TestKnownComparesPipelineParametersAndEnvironment: two runs are the same when
// their pipelines, parameters and environments are the same. The error names the
// differences, and never a value.
func TestKnownComparesPipelineParametersAndEnvironment(t *testing.T) {
	s := newSite(t, 0)
	ctx := t.Context()
	if err := client.New(s.conn).Known(ctx, specOf(t, "p.yaml", knownSource, nil)); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("a run that was not submitted: %v", err)
	}
	first := specOf(t, "p.yaml", knownSource, nil)
	first.Labels, first.StartedBy = map[string]string{"k": "v"}, "ann@host"
	if err := client.New(s.conn).Submit(ctx, first); err != nil {
		t.Fatal(err)
	}
	with := func(change func(*jobs.Spec)) *jobs.Spec {
		spec := specOf(t, "p.yaml", knownSource, nil)
		change(spec)
		return spec
	}
	for name, spec := range map[string]*jobs.Spec{
		"the same":                      specOf(t, "p.yaml", knownSource, nil),
		"by another path, with comment": specOf(t, "../x/p.yaml", "# hi\n"+knownSource, nil),
		"the default written out":       specOf(t, "p.yaml", knownSource, map[string]string{"channel": "dev"}),
		"variables in another order": with(func(s *jobs.Spec) {
			s.Env = []pipeline.KeyValue{{Key: "A", Value: "0"}, {Key: "B", Value: "2"}, {Key: "A", Value: "1"}}
		}),
	} {
		if err := client.New(s.conn).Known(ctx, spec); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for text, spec := range map[string]*jobs.Spec{
		`its pipeline is "p", not "q"`: specOf(t, "p.yaml", strings.Replace(knownSource, "name: p", "name: q", 1), nil),
		"another definition":           specOf(t, "p.yaml", strings.Replace(knownSource, "'true'", "'false'", 1), nil),
		"other parameters (channel)":   specOf(t, "p.yaml", knownSource, map[string]string{"channel": "hush"}),
		"another environment (A, C)": with(func(s *jobs.Spec) {
			s.Env = []pipeline.KeyValue{{Key: "A", Value: "hush"}, {Key: "B", Value: "2"}, {Key: "C", Value: "hush"}}
		}),
		"another environment (A, B)": with(func(s *jobs.Spec) { s.Env = nil }),
		"not a retry of run r0":      with(func(s *jobs.Spec) { s.RetryOf = "r0" }),
	} {
		err := client.New(s.conn).Known(ctx, spec)
		if !errors.Is(err, client.ErrOther) || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "hush") {
			t.Errorf("want %q, have %v", text, err)
		}
	}
}
