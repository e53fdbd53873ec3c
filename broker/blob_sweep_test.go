package broker_test

import (
	"errors"
	"testing"

	"github.com/modpipe/modpipe/broker"
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
	put := func() jobs.Outputs { return must[jobs.Outputs](t)(c.PutOutputs(ctx, large)) }
	listed := func() broker.StoredBlob {
		t.Helper()
		all := must[[]broker.StoredBlob](t)(c.StoredBlobs(ctx))
		if len(all) != 1 {
			t.Fatalf("%d blobs", len(all))
		}
		return all[0]
	}
	o := put()
	for what, again := range map[string]func(){
		"stored again": func() { put() },
		"wanted":       func() { check(t, c.WantBlob(ctx, o.Blob)) },
	} {
		old := listed()
		again()
		if gone := must[bool](t)(c.DropBlob(ctx, old)); gone {
			t.Errorf("what was %s is dropped", what)
		}
		must[map[string]string](t)(c.Outputs(ctx, o))
		if now := listed(); !now.Stored.After(old.Stored) || now.SHA256 != o.Blob.SHA256 {
			t.Errorf("what was %s is no younger: %+v, %+v", what, old, now)
		}
	}
	if gone := must[bool](t)(c.DropBlob(ctx, listed())); !gone {
		t.Error("it is not dropped")
	}
	if _, err := c.Outputs(ctx, o); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("reading what is dropped: %v", err)
	}
	if err := c.WantBlob(ctx, o.Blob); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("wanting what is dropped: %v", err)
	}
	if usage := must[broker.Usage](t)(c.BlobsUsage(ctx)); usage.Bytes != 0 {
		t.Errorf("%d bytes are left", usage.Bytes)
	}
	o = put()
	must[map[string]string](t)(c.Outputs(ctx, o))
}
