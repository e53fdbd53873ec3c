package broker

import (
	"context"
	"fmt"

	"github.com/modpipe/modpipe/jobs"
)

// PutResult stores what a Go function has returned: inline, or by digest above
// InlineLimit. Retries while ctx lasts. ErrTooLarge above jobs.MaxOutputs.
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

// Result is what a Go function has returned: from the object store when it is
// there, with its digest checked.
func (c *Conn) Result(ctx context.Context, o jobs.Outputs) ([]byte, error) {
	if o.Blob.SHA256 == "" {
		return o.Result, nil
	}
	return c.blob(ctx, o.Blob.SHA256, jobs.MaxOutputs)
}
