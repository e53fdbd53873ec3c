package tables_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/modpipe/modpipe/internal/tables"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

func TestCacheShowsResultsAndDirectories(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	rows := tables.NewCacheRows(
		[]kv.StoredEntry{{CacheEntry: jobs.CacheEntry{Fingerprint: strings.Repeat("ab", 32), Pipeline: "p", Module: "build", Run: "r1"}, Namespace: "main", Used: noon}},
		[]kv.DirEntry{{CacheDirEntry: jobs.CacheDirEntry{Name: "gomod", Key: "go-\x1b[1m", Module: "test", Run: "r2", Tree: jobs.Tree{Bytes: 2_000_000}}, Namespace: "main", Used: noon.Add(-time.Hour)}},
	)
	if len(rows) != 2 || rows[0].Directory != "gomod" || rows[1].Module != "build" {
		t.Fatalf("the rows are %+v", rows)
	}
	var table, names bytes.Buffer
	tables.WriteCacheRows(&table, rows)
	tables.WriteCacheNames(&names, rows)
	lines := strings.Split(table.String(), "\n")
	if len(lines) != 6 || !strings.Contains(lines[1], "abababababab") || !strings.Contains(lines[4], "gomod") || !strings.Contains(lines[4], "1.9 MiB") {
		t.Errorf("the table is\n%s", table.String())
	}
	if want := "main." + strings.Repeat("ab", 32); !strings.Contains(names.String(), want) || !strings.Contains(names.String(), "main/gomod/go-") {
		t.Errorf("the names are\n%s", names.String())
	}
	if strings.Contains(table.String()+names.String(), "\x1b") {
		t.Error("a key of others reaches the terminal as it is")
	}
	for n, want := range map[kv.Pruned]string{
		{}: "removed 0 cached results", {Results: 1, Dirs: 1}: "removed 1 cached result and 1 cache directory", {Dirs: 2}: "removed 0 cached results and 2 cache directories",
	} {
		if got := tables.PrunedText(n); got != want {
			t.Errorf("%+v: %s", n, got)
		}
	}
}
