package orchestrator_test

import (
	"testing"

	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/orchestrator"
)

// TestRunGoesOnWhereTheCacheIsDenied: the user of an orchestrator may write another
// namespace than the run asks for.
func TestRunGoesOnWhereTheCacheIsDenied(t *testing.T) {
	t.Parallel()
	s, pr := newContested(t)
	s.input("1")
	wantStatuses(t, s.runCached("first", building, cached{}), "build=succeeded use=succeeded") // it creates the buckets
	s.untrusted(pr, "r0", "build=succeeded use=succeeded")                                     // it has used the bucket
	for _, id := range []jobs.RunID{"r1", "r2"} {
		s.submitCached(id, building, jobs.CachePolicy{Namespace: "main", Refresh: true})
		if _, err := orchestrator.Run(s.ctx, pr, id, s.caching(cached{})); err != nil {
			t.Fatal(err)
		}
		rep, err := client.New(s.conn).Show(s.ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		wantStatuses(t, rep, "build=succeeded use=succeeded")
	}
}
