package content_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestDrop: a value is removed with all its chunks, unless it was stored again or
// renewed after it was listed.
func TestDrop(t *testing.T) {
	t.Parallel()
	st, _ := open(t)
	ctx := natstest.Within(t)
	value := noise(256 << 10)
	put := func() content.Digest { return natstest.Must[content.Digest](t)(st.Put(ctx, bytes.NewReader(value))) }
	listed := func() content.Stored {
		t.Helper()
		all := natstest.Must[[]content.Stored](t)(st.List(ctx))
		if len(all) != 1 {
			t.Fatalf("%d values", len(all))
		}
		return all[0]
	}
	d := put()
	renew := func() error { return st.Renew(ctx, d, int64(len(value)), len(value)) }
	for what, again := range map[string]func(){
		"stored again": func() { put() },
		"renewed":      func() { natstest.Check(t, renew()) },
	} {
		old := listed()
		again()
		if dropped := natstest.Must[bool](t)(st.Drop(ctx, old)); dropped {
			t.Errorf("a value that was %s is dropped", what)
		}
		natstest.Must[[]byte](t)(st.Bytes(ctx, d, len(value)))
		if now := listed(); !now.Time.After(old.Time) || now.Digest != d {
			t.Errorf("a value that was %s is no younger: %+v, %+v", what, old, now)
		}
	}
	if dropped := natstest.Must[bool](t)(st.Drop(ctx, listed())); !dropped {
		t.Error("it is not dropped")
	}
	_, err := st.Bytes(ctx, d, len(value))
	wantMissing(t, err)
	wantMissing(t, renew())
	if usage := natstest.Must[jetstream.Usage](t)(st.Usage(ctx)); usage.Bytes != 0 {
		t.Errorf("%d bytes are left", usage.Bytes)
	}
	put()
	natstest.Must[[]byte](t)(st.Bytes(ctx, d, len(value)))
}

// TestMarksFollowManifests: everything that a manifest refers to is in use, also
// if it was marked as plain content before.
func TestMarksFollowManifests(t *testing.T) {
	t.Parallel()
	asked := map[content.Digest]int{}
	refs := func(_ context.Context, d content.Digest) ([]content.Digest, error) {
		asked[d]++
		return map[content.Digest][]content.Digest{"root": {"dir", "file"}, "dir": {"file", "root", "deep"}}[d], nil
	}
	var used content.Marks
	natstest.Check(t, used.Add(t.Context(), "dir", nil))
	if used.Has("deep") {
		t.Error("plain content is followed")
	}
	natstest.Check(t, used.Add(t.Context(), "root", refs))
	for _, d := range []content.Digest{"root", "dir", "file", "deep"} {
		if !used.Has(d) || asked[d] != 1 {
			t.Errorf("%s: marked %v, asked %d times", d, used.Has(d), asked[d])
		}
	}
	if used.Has("other") {
		t.Error("another value is marked")
	}
	failing := func(context.Context, content.Digest) ([]content.Digest, error) { return nil, fmt.Errorf("unreadable") }
	if used.Add(t.Context(), "new", failing) == nil {
		t.Error("a manifest that cannot be read is no error")
	}
}
