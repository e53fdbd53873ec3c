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
	renew := func() error { return st.Renew(ctx, d, len(value)) }
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
	ref := func(name content.Digest) content.Ref { return content.Ref{Namespace: "main", Digest: name} }
	asked := map[content.Ref]int{}
	refs := func(_ context.Context, of content.Ref) (found []content.Ref, err error) {
		asked[of]++
		for _, name := range map[content.Digest][]content.Digest{"root": {"dir", "file"}, "dir": {"file", "root", "deep"}}[of.Digest] {
			found = append(found, ref(name))
		}
		return found, nil
	}
	var used content.Marks
	natstest.Check(t, used.Add(t.Context(), ref("dir"), nil))
	if used.Has(ref("deep")) {
		t.Error("plain content is followed")
	}
	natstest.Check(t, used.Add(t.Context(), ref("root"), refs))
	for _, d := range []content.Digest{"root", "dir", "file", "deep"} {
		if !used.Has(ref(d)) || asked[ref(d)] != 1 {
			t.Errorf("%s: marked %v, asked %d times", d, used.Has(ref(d)), asked[ref(d)])
		}
	}
	if used.Has(ref("other")) || used.Has(content.Ref{Namespace: "other", Digest: "root"}) {
		t.Error("another value is marked")
	}
	failing := func(context.Context, content.Ref) ([]content.Ref, error) { return nil, fmt.Errorf("unreadable") }
	if used.Add(t.Context(), ref("new"), failing) == nil {
		t.Error("a manifest that cannot be read is no error")
	}
}
