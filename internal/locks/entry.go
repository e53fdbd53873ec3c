package locks

import (
	"context"
	"slices"

	"github.com/modpipe/modpipe/jobs"
)

// Bucket stores the holders of each lock. It repeats requests that NATS does
// not answer until ctx ends.
type Bucket interface {
	// Read returns a lock's entry, without holders when the bucket has no entry,
	// and the revision that a change of it expects.
	Read(ctx context.Context, lock jobs.Lock) (jobs.LockEntry, uint64, error)
	// Write stores a lock's entry, or removes one without holders, if its
	// last revision is the given one. Otherwise it reports false: the entry has
	// been written since, perhaps by an unanswered first try of this call.
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

// enter returns the holders of the lock after a request of h, and the holders
// that refuse it.
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
		return held, own // an older orchestrator asks for a lock that a newer one has
	}
	if len(others) >= lock.Max && !slices.ContainsFunc(own, h.Is) {
		return held, others
	}
	return append(slices.Clone(others), h), nil
}

// Release removes the holders for which gone returns true.
func Release(ctx context.Context, b Bucket, lock jobs.Lock, gone func(jobs.Holder) bool) error {
	return change(ctx, b, lock, func(held []jobs.Holder) []jobs.Holder {
		return slices.DeleteFunc(slices.Clone(held), gone)
	})
}

// change writes the holders that f returns, by compare-and-set, and nothing
// when f returns the same ones. An unanswered first try that was stored is
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
