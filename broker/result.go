package broker

import (
	"context"
	"fmt"

	"github.com/modpipe/modpipe/jobs"
)

// PutResult stores the result of a Go function: inline, or by digest above
// InlineLimit. It retries until ctx ends, and returns ErrTooLarge above
// jobs.MaxOutputs.
func (c *Conn) PutResult(ctx context.Context, result []byte) (jobs.Outputs, error) {
	switch {
	case len(result) > jobs.MaxOutputs:
		return jobs.Outputs{}, fmt.Errorf("a result of %d bytes is %w: an attempt may return %d MiB", len(result), ErrTooLarge, jobs.MaxOutputs>>20)
	case len(result) <= InlineLimit:
		return jobs.Outputs{Typed: true, Result: result}, nil
	}
	blob, err := c.putBlob(ctx, result, waits)
	return jobs.Outputs{Typed: true, Blob: blob}, err
}

// Result returns the result of a Go function. It reads it from the object store,
// and checks its digest, when it is not inline.
func (c *Conn) Result(ctx context.Context, o jobs.Outputs) ([]byte, error) {
	if o.Blob.SHA256 == "" {
		return o.Result, nil
	}
	return c.blob(ctx, o.Blob.SHA256, jobs.MaxOutputs)
}
