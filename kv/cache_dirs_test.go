package kv_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/test/natstest"
)

func TestCacheDirsAreFoundByKeyAndByItsBeginning(t *testing.T) {
	c := openCache(t, connect(t, natstest.InProcess(t)))
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	store := func(key string, restore ...string) {
		t.Helper()
		now = now.Add(time.Minute)
		e := &jobs.CacheDirEntry{Name: "mod", Key: key, When: now, Tree: jobs.Tree{Root: key, Manifest: key}}
		if err := c.StoreDir(t.Context(), "main", e, restore); err != nil {
			t.Fatal(err)
		}
	}
	store("rare-1", "rare-")
	for i := range 30 {
		store(fmt.Sprint("go-", i), "go-", "unrelated-")
	}
	store("rare-2")
	x, err := c.DirIndex(t.Context(), "main", "mod")
	if err != nil {
		t.Fatal(err)
	}
	if keys := x.Matching("go-"); len(keys) != 20 || keys[0] != "go-29" || keys[19] != "go-10" {
		t.Errorf("the index has %v", keys)
	}
	if keys := x.Matching("rare-"); len(keys) != 2 || keys[0] != "rare-2" {
		t.Errorf("the index has %v", keys)
	}
	e, err := c.Dir(t.Context(), "main", "mod", "go-3")
	if err != nil || e.Tree.Root != "go-3" {
		t.Errorf("got %+v, %v", e, err)
	}
	for _, of := range [][3]string{{"main", "mod", "go"}, {"main", "other", "go-3"}, {"other", "mod", "go-3"}} {
		if _, err := c.Dir(t.Context(), of[0], of[1], of[2]); !errors.Is(err, jetstream.ErrNotFound) {
			t.Errorf("%v: got %v", of, err)
		}
	}
	keys, err := c.Keys(t.Context())
	keys = slices.DeleteFunc(keys, func(k kv.CacheKey) bool { return len(k.Trees) == 0 })
	if err != nil || len(keys) != 32 {
		t.Errorf("%d entries hold content: %v", len(keys), err)
	}
	if entries, err := c.List(t.Context(), "*"); err != nil || len(entries) != 0 {
		t.Errorf("directories are listed as results: %v, %v", entries, err)
	}
}

// TestCacheDirsAreListedAndPruned: an index forgets what was removed, so that it leads to
// what is left.
func TestCacheDirsAreListedAndPruned(t *testing.T) {
	c := openCache(t, connect(t, natstest.InProcess(t)))
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, of := range [][3]string{{"main", "mod", "go-1"}, {"main", "mod", "go-2"}, {"pr", "mod", "go-1"}} {
		e := &jobs.CacheDirEntry{Name: of[1], Key: of[2], When: now, Tree: jobs.Tree{Root: "r", Manifest: "m"}}
		natstest.Check(t, c.StoreDir(t.Context(), of[0], e, []string{"go-"}))
	}
	natstest.Check(t, c.Store(t.Context(), "main", &jobs.CacheEntry{Fingerprint: strings.Repeat("a", 64)}))
	listed := func(namespace string) string {
		t.Helper()
		entries, err := c.ListDirs(t.Context(), namespace)
		natstest.Check(t, err)
		var all []string
		for _, e := range entries {
			all = append(all, e.Namespace+"/"+e.Name+"/"+e.Key)
		}
		return strings.Join(all, " ")
	}
	if got := listed("*"); got != "main/mod/go-1 main/mod/go-2 pr/mod/go-1" {
		t.Errorf("listed: %s", got)
	}
	entries, err := c.ListDirs(t.Context(), "main")
	natstest.Check(t, err)
	if n, err := c.Prune(t.Context(), "*", entries[1].Used); err != nil || n != (kv.Pruned{Dirs: 1}) {
		t.Errorf("the first pruning: %+v, %v", n, err)
	}
	x, err := c.DirIndex(t.Context(), "main", "mod")
	if keys := x.Matching("go-"); err != nil || len(keys) != 1 || keys[0] != "go-2" {
		t.Errorf("the index has %v, %v", keys, err)
	}
	if n, err := c.Prune(t.Context(), "main", time.Now().Add(time.Hour)); err != nil || n != (kv.Pruned{Results: 1, Dirs: 1}) {
		t.Errorf("the second pruning: %+v, %v", n, err)
	}
	if got := listed("*"); got != "pr/mod/go-1" {
		t.Errorf("left: %s", got)
	}
}
