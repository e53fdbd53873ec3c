package orchestrator

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestSweepMarksTheTreesOfEntries: those of cache directories, and the artifacts of
// cached results, with everything to which they refer.
func TestSweepMarksTheTreesOfEntries(t *testing.T) {
	t.Parallel()
	n := natstest.InProcess(t)
	ctx := natstest.Within(t)
	c := natstest.Must[*broker.Conn](t)(broker.Connect(ctx, broker.Config{Options: n.Options()}))
	defer c.Close()
	digest := func(s string) content.Digest { return content.DigestOf([]byte(s)) }
	of := func(s string) jobs.Tree {
		return jobs.Tree{Root: string(digest("root")), Manifest: string(digest(s)), Namespace: "main"}
	}
	ref := func(s string) content.Ref { return content.Ref{Namespace: "main", Digest: digest(s)} }
	refs := func(ctx context.Context, of content.Ref) ([]content.Ref, error) {
		if of == ref("dir") {
			return []content.Ref{ref("section")}, nil
		}
		return nil, ctx.Err()
	}
	marked := func() *content.Marks {
		marks := new(content.Marks)
		s := &sweep{conn: c}
		natstest.Must[bool](t)(s.openCache(ctx))
		natstest.Check(t, s.listCache(ctx, false))
		natstest.Check(t, s.cached(ctx, marks, refs))
		return marks
	}
	if marked().Has(ref("dir")) {
		t.Error("something is marked without a bucket")
	}
	cache := natstest.Must[*kv.Cache](t)(kv.OpenCache(ctx, c.Conn))
	natstest.Check(t, cache.StoreDir(ctx, "main", &jobs.CacheDirEntry{Name: "mod", Key: "k", When: time.Unix(1, 0), Tree: of("dir")}, nil))
	natstest.Check(t, cache.Store(ctx, "main", &jobs.CacheEntry{Fingerprint: strings.Repeat("a", 64), Artifacts: []jobs.Artifact{{Name: "bin", Tree: of("artifact")}}}))
	marks := marked()
	for s, want := range map[string]bool{"dir": true, "section": true, "artifact": true, "other": false} {
		if marks.Has(ref(s)) != want {
			t.Errorf("%s is marked: %t", s, !want)
		}
	}
}
