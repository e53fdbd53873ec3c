package kv_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestLockOfANewerVersionIsHeld checks that an unreadable entry has a holder. No
// orchestrator takes the lock, releases it or counts its holder as gone. Without the
// entry the lock is free.
func TestLockOfANewerVersionIsHeld(t *testing.T) {
	t.Parallel()
	s := natstest.InProcess(t)
	c := connect(t, s)
	l := openLocks(t, c)
	ctx := natstest.Within(t)
	js, err := jetstream.New(s.Connect(t))
	check(t, err)
	bucket, err := js.KeyValue(ctx, "mp-locks")
	check(t, err)
	leases, err := kv.OpenLeases(ctx, c.Conn)
	check(t, err)
	for text, says := range map[string]string{"\x7fnewer": "a newer version", "": "cannot be read"} {
		for _, lock := range []jobs.Lock{database, {Name: "licences", Limit: true, Max: 3}} {
			kind := "key"
			if lock.Limit {
				kind = "limit"
			}
			sum := sha256.Sum256([]byte(kind + " " + lock.Name))
			key := kind + "-" + hex.EncodeToString(sum[:16])
			_, err := bucket.PutString(ctx, key, text)
			check(t, err)
			h := holder("r1", "m", 1, 1)
			others, err := locks.Acquire(ctx, l, lock, h)
			check(t, err)
			if len(others) < lock.Max || !strings.Contains(string(others[0].Run), says) {
				t.Fatalf("%s: held by %v", lock.Name, others)
			}
			if _, err := leases.Holder(ctx, string(others[0].Run)); errors.Is(err, broker.ErrNotFound) {
				t.Error("no orchestrator decides for the run of its holder")
			}
			check(t, locks.Release(ctx, l, lock, h.Is))
			check(t, locks.Leave(ctx, l, "r1", []jobs.Lock{lock}))
			if err := locks.Release(ctx, l, lock, others[0].Is); err == nil {
				t.Error("it was written over")
			}
			e, err := bucket.Get(ctx, key)
			check(t, err)
			if string(e.Value()) != text {
				t.Errorf("%s: the entry is %q now", lock.Name, e.Value())
			}
			check(t, bucket.Delete(ctx, key))
			if !takes(t, l, lock, h) {
				t.Error("it is not free")
			}
			check(t, locks.Release(ctx, l, lock, h.Is))
		}
	}
}
