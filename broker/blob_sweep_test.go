package broker_test

import (
	"errors"
	"testing"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestDropBlob: a blob is removed with all its chunks, unless it was stored again or
// renewed after it was listed.
func TestDropBlob(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := within(t)
	large := map[string]string{"o": string(noise(broker.InlineLimit * 4))}
	put := func() jobs.Outputs { return must[jobs.Outputs](t)(c.Values.PutOutputs(ctx, large)) }
	listed := func() content.Stored {
		t.Helper()
		all := must[[]content.Stored](t)(c.Values.List(ctx))
		if len(all) != 1 {
			t.Fatalf("%d blobs", len(all))
		}
		return all[0]
	}
	o := put()
	for what, again := range map[string]func(){
		"stored again": func() { put() },
		"wanted":       func() { check(t, c.Values.Renew(ctx, o.Blob)) },
	} {
		old := listed()
		again()
		if gone := must[bool](t)(c.Values.Drop(ctx, old)); gone {
			t.Errorf("what was %s is dropped", what)
		}
		must[map[string]string](t)(c.Values.Outputs(ctx, o))
		if now := listed(); !now.Time.After(old.Time) || string(now.Digest) != o.Blob.SHA256 {
			t.Errorf("what was %s is no younger: %+v, %+v", what, old, now)
		}
	}
	if gone := must[bool](t)(c.Values.Drop(ctx, listed())); !gone {
		t.Error("it is not dropped")
	}
	if _, err := c.Values.Outputs(ctx, o); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("reading what is dropped: %v", err)
	}
	if err := c.Values.Renew(ctx, o.Blob); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("wanting what is dropped: %v", err)
	}
	if usage := must[jetstream.Usage](t)(c.Values.Usage(ctx)); usage.Bytes != 0 {
		t.Errorf("%d bytes are left", usage.Bytes)
	}
	o = put()
	must[map[string]string](t)(c.Values.Outputs(ctx, o))
}
