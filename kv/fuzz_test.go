package kv

import (
	"testing"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
)

// FuzzEntries checks that no entry makes the reader of a bucket panic, and that a
// heartbeat counts under its sender's name only.
func FuzzEntries(f *testing.F) {
	w := jobs.WorkerInfo{Name: "w"}
	l := jobs.RunLease{Holder: "h"}
	lock := jobs.LockEntry{Name: "db", Holders: []jobs.Holder{{Run: "r", Module: "m", Attempt: 1}}}
	seed(f, &w)
	seed(f, &l)
	seed(f, &lock)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		e := jetstream.BucketEntry{Key: "w", Value: data}
		have, ok := worker(e)
		if ok && have.Name != "w" {
			t.Fatalf("a heartbeat of %q counts under w", have.Name)
		}
		changeOf(e)
		holder(e)
		_ = free(e, w)
		key := lockKey(jobs.Lock{Name: "db"})
		roomIn(jetstream.BucketEntry{Key: key, Value: data}, []jobs.Lock{{Name: "db", Max: 1}})
		if _, err := decode[jobs.LaneSet](e); err == nil {
			_, _ = decode[jobs.Durations](e)
		}
	})
}

func seed[M jobs.Message](f *testing.F, m *M) {
	f.Helper()
	data, err := jobs.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
}
