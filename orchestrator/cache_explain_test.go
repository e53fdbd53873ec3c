package orchestrator_test

import (
	"testing"

	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestExplainFindsTheNamespaceOfTheOrchestrator: an orchestrator may use another
// namespace than the run asks for.
func TestExplainFindsTheNamespaceOfTheOrchestrator(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	s.input("1")
	s.runCached("before", building, cached{}) // the index of main does not have the run
	cfg := s.caching(cached{})
	cfg.Namespace = "pr"
	for i, id := range []jobs.RunID{"r1", "r2"} {
		s.input([]string{"2", "3"}[i])
		s.submitCached(id, building, jobs.CachePolicy{Namespace: "main"})
		if _, err := orchestrator.Run(s.ctx, s.conn, id, cfg); err != nil {
			t.Fatal(err)
		}
	}
	use := natstest.Must[client.CacheUse](t)(client.New(s.conn).ExplainCache(s.ctx, "r2", "build"))
	if use.Entry == nil || use.Entry.Namespace != "pr" || use.Entry.Run != "r2" {
		t.Fatalf("its entry is %+v", use.Entry)
	}
	if use.Nearest == nil || use.Nearest.Run != "r1" || len(use.Differs) != 1 || use.Differs[0].Part != "inputs" {
		t.Errorf("the nearest is %+v, and differs in %v", use.Nearest, use.Differs)
	}
	use = natstest.Must[client.CacheUse](t)(client.New(s.conn).ExplainCache(s.ctx, "before", "build"))
	if use.Entry == nil || use.Entry.Namespace != "main" || use.Nearest != nil {
		t.Errorf("in main: %+v, %+v", use.Entry, use.Nearest)
	}
}
