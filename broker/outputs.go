package broker

import (
	"context"
	"fmt"

	"github.com/modpipe/modpipe/jobs"
)

// InlineLimit is the largest size of encoded outputs inside a record.
const InlineLimit = 64 << 10

// PutOutputs stores outputs: inline, or by digest above InlineLimit. It retries
// until ctx ends, and returns ErrTooLarge above jobs.MaxOutputs.
func (c *Conn) PutOutputs(ctx context.Context, values map[string]string) (jobs.Outputs, error) {
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
	blob, err := c.putBlob(ctx, data, waits)
	return jobs.Outputs{Blob: blob}, err
}

// Outputs returns the values of outputs. It reads them from the object store, and
// checks their digest, when they are not inline.
func (c *Conn) Outputs(ctx context.Context, o jobs.Outputs) (map[string]string, error) {
	if o.Blob.SHA256 == "" {
		return o.Values, nil
	}
	data, err := c.blob(ctx, o.Blob.SHA256, jobs.MaxOutputs)
	if err != nil {
		return nil, err
	}
	return jobs.UnmarshalOutputs(data)
}
