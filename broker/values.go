package broker

import (
	"cmp"
	"context"
	"fmt"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/jobs"
)

// InlineLimit is the largest size of encoded outputs inside a record.
const InlineLimit = 64 << 10

// Values holds what modules return.
type Values struct{ content.Store }

// PutOutputs stores outputs: inline, or by digest above InlineLimit. It retries
// until ctx ends, and returns ErrTooLarge above jobs.MaxOutputs.
func (v *Values) PutOutputs(ctx context.Context, values map[string]string) (jobs.Outputs, error) {
	size := 0
	for k, v := range values {
		size += len(k) + len(v)
	}
	if size > jobs.MaxOutputs {
		return jobs.Outputs{}, fmt.Errorf("outputs of %d bytes are %w: an attempt may set %d MiB", size, ErrTooLarge, jobs.MaxOutputs>>20)
	}
	if size+12*len(values)+8 <= InlineLimit {
		return jobs.Outputs{Values: values}, nil
	}
	data, err := jobs.MarshalOutputs(values)
	if err != nil {
		return jobs.Outputs{}, err
	}
	switch {
	case len(data) <= InlineLimit:
		return jobs.Outputs{Values: values}, nil
	case len(data) > jobs.MaxOutputs:
		return jobs.Outputs{}, fmt.Errorf("outputs of %d bytes are %w: an attempt may set %d MiB", len(data), ErrTooLarge, jobs.MaxOutputs>>20)
	}
	blob, err := v.put(ctx, data)
	return jobs.Outputs{Blob: blob}, err
}

// Outputs returns the values of outputs. It reads them from the object store, and
// checks their digest, when they are not inline.
func (v *Values) Outputs(ctx context.Context, o jobs.Outputs) (map[string]string, error) {
	if o.Blob.SHA256 == "" {
		return o.Values, nil
	}
	data, err := v.Bytes(ctx, content.Digest(o.Blob.SHA256), jobs.MaxOutputs)
	if err != nil {
		return nil, err
	}
	return jobs.UnmarshalOutputs(data)
}

// PutResult stores the result of a Go function: inline, or by digest above
// InlineLimit. It retries until ctx ends, and returns ErrTooLarge above
// jobs.MaxOutputs.
func (v *Values) PutResult(ctx context.Context, result []byte) (jobs.Outputs, error) {
	switch {
	case len(result) > jobs.MaxOutputs:
		return jobs.Outputs{}, fmt.Errorf("a result of %d bytes is %w: an attempt may return %d MiB", len(result), ErrTooLarge, jobs.MaxOutputs>>20)
	case len(result) <= InlineLimit:
		return jobs.Outputs{Typed: true, Result: result}, nil
	}
	blob, err := v.put(ctx, result)
	return jobs.Outputs{Typed: true, Blob: blob}, err
}

// Result returns the result of a Go function. It reads it from the object store,
// and checks its digest, when it is not inline.
func (v *Values) Result(ctx context.Context, o jobs.Outputs) ([]byte, error) {
	if o.Blob.SHA256 == "" {
		return o.Result, nil
	}
	return v.Bytes(ctx, content.Digest(o.Blob.SHA256), jobs.MaxOutputs)
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
	return v.Store.Renew(ctx, content.Digest(b.SHA256), b.Bytes, jobs.MaxOutputs)
}

// Usage returns the size of all values.
func (v *Values) Usage(ctx context.Context) (jetstream.Usage, error) {
	u, err := v.Store.Usage(ctx)
	u.MaxBytes = cmp.Or(u.MaxBytes, topology.BlobsBytes)
	return u, err
}
