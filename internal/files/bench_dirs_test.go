package files_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

// BenchmarkCacheDirectory stores a cache directory of 50,000 files, 1 GB in all that
// cannot be compressed, and restores it on another machine, and on one that has its
// contents.
func BenchmarkCacheDirectory(b *testing.B) {
	const count, size = 50_000, 20_000
	for range b.N {
		b.StopTimer()
		s := newSite(b, 0)
		dirs := []jobs.CacheDir{{Name: "mod", Env: "MODS", Key: "k"}}
		d := s.prepare(&jobs.JobFiles{Namespace: "main", CacheDirs: dirs}, "")
		fillDirectory(b, d.Found().Variables[0].Value, count, size)
		var stored []jobs.StoredDir
		b.StartTimer()
		timed(b, "store", func() { stored, _, _ = d.CollectDirs(b.Context(), nil) })
		b.StopTimer()
		natstest.Check(b, d.Close())
		if len(stored) != 1 {
			b.Fatal("it was not stored")
		}
		dirs[0].Found, dirs[0].Tree = "k", stored[0].Tree
		other := s.another(b)
		b.StartTimer()
		for _, where := range []string{"elsewhere", "again"} {
			var again workspace.Directory
			timed(b, where, func() {
				again = natstest.Must[workspace.Directory](b)(other.Prepare(b.Context(), &jobs.JobFiles{Namespace: "main", CacheDirs: dirs}, ""))
			})
			natstest.Check(b, again.Close())
		}
		b.StopTimer()
	}
}

// timed reports how long f takes, in seconds.
func timed(b *testing.B, name string, f func()) {
	b.Helper()
	before := b.Elapsed()
	f()
	b.ReportMetric((b.Elapsed() - before).Seconds(), "s-"+name)
}

func fillDirectory(b *testing.B, dir string, count, size int) {
	b.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, size)
	for i := range count {
		for j := 0; j+8 <= size; j += 8 {
			binary.LittleEndian.PutUint64(data[j:], r.Uint64())
		}
		at := filepath.Join(dir, fmt.Sprintf("d%03d", i/100))
		natstest.Check(b, os.MkdirAll(at, 0o755))
		natstest.Check(b, os.WriteFile(filepath.Join(at, fmt.Sprint(i)), data, 0o600))
	}
}
