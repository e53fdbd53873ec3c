package broker

import (
	"cmp"
	"context"
	"fmt"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// InlineLimit is the largest size of encoded outputs inside a record.
const InlineLimit = 64 << 10

// Values holds what modules return.
type Values struct{ content.Store }

// Put stores a value: inline, or by digest above InlineLimit. It retries until
// ctx ends, and returns ErrTooLarge above jobs.MaxOutputs.
func (v *Values) Put(ctx context.Context, value jobs.Value) (jobs.Value, error) {
	switch n := value.Size(); {
	case n > jobs.MaxOutputs && value.Kind == jobs.ResultValue:
		return jobs.Value{}, fmt.Errorf("a result of %d bytes is %w: an attempt may return %d MiB", n, ErrTooLarge, jobs.MaxOutputs>>20)
	case n > jobs.MaxOutputs:
		return jobs.Value{}, fmt.Errorf("outputs of %d bytes are %w: an attempt may set %d MiB", n, ErrTooLarge, jobs.MaxOutputs>>20)
	case n <= InlineLimit:
		return value, nil
	}
	blob, err := v.put(ctx, value.Stored())
	return jobs.Value{Kind: value.Kind, Ref: blob}, err
}

// Load returns a value inline. It reads it from the object store, and checks its
// digest, when it is kept by reference.
func (v *Values) Load(ctx context.Context, value jobs.Value) (jobs.Value, error) {
	if !value.ByRef() {
		return value, nil
	}
	data, err := v.Bytes(ctx, content.Digest(value.Ref.SHA256), jobs.MaxOutputs)
	if err != nil {
		return jobs.Value{}, err
	}
	return value.Loaded(data)
}

// Outputs returns the outputs of a command, loaded where they are kept by reference.
func (v *Values) Outputs(ctx context.Context, value jobs.Value) (map[string]string, error) {
	loaded, err := v.Load(ctx, value)
	if err != nil {
		return nil, err
	}
	return loaded.Outputs()
}

func (v *Values) put(ctx context.Context, data []byte) (jobs.Blob, error) {
	digest, err := v.PutBytes(ctx, data)
	if err != nil {
		return jobs.Blob{}, err
	}
	return jobs.Blob{SHA256: string(digest), Bytes: int64(len(data))}, nil
}

// Renew keeps a value from expiring, as if it were stored now, or returns
// ErrNotFound. It fails while the store is full.
func (v *Values) Renew(ctx context.Context, b jobs.Blob) error {
	return v.Store.Renew(ctx, content.Digest(b.SHA256), jobs.MaxOutputs)
}

// Usage returns the size of all values.
func (v *Values) Usage(ctx context.Context) (jetstream.Usage, error) {
	u, err := v.Store.Usage(ctx)
	u.MaxBytes = cmp.Or(u.MaxBytes, streams.BlobsBytes)
	return u, err
}
