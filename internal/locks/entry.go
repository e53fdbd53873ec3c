package locks

import (
	"context"
	"slices"

	"github.com/modpipe/modpipe/jobs"
)

// Bucket is where it stands who holds what. It repeats what NATS does not
// answer until ctx ends.
type Bucket interface {
	// Read returns a lock's entry, without holders when there is none, and the
	// revision that a change of it expects.
	Read(ctx context.Context, lock jobs.Lock) (jobs.LockEntry, uint64, error)
	// Write stores a lock's entry, or removes one without holders, where its
	// last revision is the given one. It reports false when it is not: somebody
	// has written meanwhile, perhaps an unanswered first try of this call.
	Write(ctx context.Context, lock jobs.Lock, entry jobs.LockEntry, revision uint64) (bool, error)
}

// Acquire enters a holder, unless as many others as may have the lock. It
// returns these others when it is refused, and none when the holder has the
// lock, also when it had it before: an attempt's entry follows its newest
// orchestrator, and a module's next attempt replaces those before it.
func Acquire(ctx context.Context, b Bucket, lock jobs.Lock, h jobs.Holder) ([]jobs.Holder, error) {
	var others []jobs.Holder
	err := change(ctx, b, lock, func(held []jobs.Holder) (next []jobs.Holder) {
		next, others = enter(held, lock, h)
		return next
	})
	return others, err
}

// enter is who holds the lock when h has asked for it, and who stands in its way.
func enter(held []jobs.Holder, lock jobs.Lock, h jobs.Holder) (next, refusing []jobs.Holder) {
	var own, others []jobs.Holder
	for _, o := range held {
		if o.Run == h.Run && o.Module == h.Module {
			own = append(own, o)
		} else {
			others = append(others, o)
		}
	}
	if slices.ContainsFunc(own, func(o jobs.Holder) bool { return o.Attempt > h.Attempt || o.Is(h) && o.Epoch > h.Epoch }) {
		return held, own // an elder orchestrator asks for what a newer one has
	}
	if len(others) >= lock.Max && !slices.ContainsFunc(own, h.Is) {
		return held, others
	}
	return append(slices.Clone(others), h), nil
}

// Release takes those holders out that gone names.
func Release(ctx context.Context, b Bucket, lock jobs.Lock, gone func(jobs.Holder) bool) error {
	return change(ctx, b, lock, func(held []jobs.Holder) []jobs.Holder {
		return slices.DeleteFunc(slices.Clone(held), gone)
	})
}

// change writes what f makes of the holders by compare-and-set, and nothing
// when it leaves them as they are. An unanswered first try that was stored is
// read again, and found to be as it should be.
func change(ctx context.Context, b Bucket, lock jobs.Lock, f func([]jobs.Holder) []jobs.Holder) error {
	for {
		entry, revision, err := b.Read(ctx, lock)
		if err != nil {
			return err
		}
		next := f(entry.Holders)
		if slices.Equal(next, entry.Holders) {
			return nil
		}
		entry.Holders = next
		if stored, err := b.Write(ctx, lock, entry, revision); stored || err != nil {
			return err
		}
	}
}
