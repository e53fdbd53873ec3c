package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/snapshot"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/test/natstest"
)

func connected(t *testing.T) *broker.Conn {
	t.Helper()
	c := dial(t, natstest.InProcess(t).Options()...)
	t.Cleanup(c.Close)
	return c
}

func TestArtifactOfNoRunIsRefused(t *testing.T) {
	c := connected(t)
	p := &pipeline.Pipeline{Name: "p", Modules: []*pipeline.Module{{Name: "m", Consume: []pipeline.Consume{
		{Name: "bin", FromRun: &pipeline.FromRun{Pipeline: "release"}},
	}}}}
	_, err := client.New(c).Earlier(t.Context(), p)
	if !errors.As(err, new(*client.RefusedError)) || !strings.Contains(err.Error(), "no run of pipeline release has succeeded") {
		t.Errorf("the error is %v", err)
	}
}

// TestSnapshotErrors: what is wrong with the files is the user's to mend; what is
// wrong with the store is not.
func TestSnapshotErrors(t *testing.T) {
	c := connected(t)
	spec := func() *jobs.Spec { return &jobs.Spec{Run: "r", Pipeline: &pipeline.Pipeline{Name: "p"}} }
	o := snapshot.Options{Dir: t.TempDir(), Workspace: pipeline.Workspace{Include: []string{"../out"}}}
	if _, err := client.New(c).Snapshot(t.Context(), spec(), o, ""); !errors.As(err, new(*client.RefusedError)) {
		t.Errorf("files outside of the workspace: %v", err)
	}
	o.Workspace = pipeline.Workspace{None: true}
	c.Close()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := client.New(c).Snapshot(ctx, spec(), o, ""); err == nil || errors.As(err, new(*client.RefusedError)) {
		t.Errorf("no connection: %v", err)
	}
}
