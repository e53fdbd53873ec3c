package broker_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

// BenchmarkPublishJob is the cost on the caller of one job, acknowledgements
// included.
func BenchmarkPublishJob(b *testing.B) {
	c := connect(b, natstest.StartServer(b, nil))
	ctx := context.Background()
	done := make(chan error, b.N+1)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		c.Queue.Publish(ctx, job(fmt.Sprint("m", i)), func(err error) { done <- err })
	}
	for range b.N {
		natstest.Check(b, <-done)
	}
}

func BenchmarkAppend(b *testing.B) {
	c := connect(b, natstest.StartServer(b, nil))
	for i := range b.N {
		natstest.Must[uint64](b)(c.Runs.Append(context.Background(), "r", jobs.ModuleID(fmt.Sprint("m", i)), 0, outcome()))
	}
}
