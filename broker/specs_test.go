package broker_test

import (
	"runtime"
	"testing"
	"weak"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestReadersOfARunShareItsGraph: the graph is kept only while a reader uses it.
func TestReadersOfARunShareItsGraph(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := within(t)
	must[uint64](t)(c.Runs.Append(ctx, "r", "", 0, jobs.Record{Spec: &jobs.Spec{Run: "r", Pipeline: &pipeline.Pipeline{Name: "p"}}}))
	logs := make([][]jobs.Entry, 8)
	var readers errgroup.Group
	for i := range logs {
		readers.Go(func() (err error) {
			logs[i], err = c.Runs.Read(ctx, "r")
			return err
		})
	}
	if err := readers.Wait(); err != nil {
		t.Fatal(err)
	}
	spec := logs[0][0].Record.Spec
	for _, log := range logs {
		if log[0].Record.Spec != spec || spec.Pipeline.Name != "p" {
			t.Fatalf("two readers have %p and %p: %+v", spec, log[0].Record.Spec, spec)
		}
	}
	unused := weak.Make(spec)
	runtime.KeepAlive(logs)
	spec, logs = nil, nil
	for range 10 { // a goroutine that has just ended may still refer to it
		if runtime.GC(); unused.Value() == nil {
			return
		}
		runtime.Gosched()
	}
	t.Error("an unused graph is still in memory")
}
