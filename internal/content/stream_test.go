package content_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/wire"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestValuesOfAnyLength: they are read in parts of any size, and sent once.
func TestValuesOfAnyLength(t *testing.T) {
	t.Parallel()
	st, _ := open(t)
	ctx := natstest.Within(t)
	for _, n := range []int{0, 1, 128 << 10, 128<<10 + 1, 40 << 20} {
		value := noise(n)
		d := natstest.Must[content.Digest](t)(st.Put(ctx, iotest.OneByteReader(bytes.NewReader(value[:min(n, 1000)])))) // without a seeker
		if n > 1000 {
			d = natstest.Must[content.Digest](t)(st.Put(ctx, bytes.NewReader(value)))
		}
		before := natstest.Must[jetstream.Usage](t)(st.Usage(ctx)).Bytes
		if again := natstest.Must[content.Digest](t)(st.Put(ctx, io.MultiReader(bytes.NewReader(value)))); again != d {
			t.Errorf("%d bytes have the digests %s and %s", n, d, again)
		}
		if after := natstest.Must[jetstream.Usage](t)(st.Usage(ctx)).Bytes; after > before+1000 && before > 0 {
			t.Errorf("a stored value of %d bytes is stored again: %d bytes, and %d before", n, after, before)
		}
		r := natstest.Must[io.ReadCloser](t)(st.Open(ctx, d))
		if read := natstest.Must[[]byte](t)(io.ReadAll(r)); !bytes.Equal(read, value) {
			t.Errorf("of %d bytes %d are read", n, len(read))
		}
		natstest.Check(t, r.Close())
	}
}

// TestDamagedValueIsReported: the reader returns an error in place of what is damaged,
// and names it.
func TestDamagedValueIsReported(t *testing.T) {
	t.Parallel()
	st, s := open(t)
	ctx := natstest.Within(t)
	const size = 9 << 20
	d := natstest.Must[content.Digest](t)(st.Put(ctx, bytes.NewReader(noise(size))))
	nc := s.Connect(t)
	damage := func() {
		t.Helper()
		for _, each := range []int{16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10} {
			subject := fmt.Sprintf("$O.mp-blobs.C.main.%s.%d.%d", d, each, (5<<20)/each)
			natstest.Must[*nats.Msg](t)(nc.RequestWithContext(ctx, subject, make([]byte, each)))
		}
	}
	damage()
	r := natstest.Must[io.ReadCloser](t)(st.Open(ctx, d))
	read, err := io.ReadAll(r)
	if len(read) != 4<<20 || !errors.Is(err, content.ErrDamaged) || !errors.Is(err, jetstream.ErrNotFound) || !strings.Contains(err.Error(), "from 4194304 on") {
		t.Errorf("%d bytes are read, %v", len(read), err)
	}
	if _, err := st.Bytes(ctx, d, 99); !errors.Is(err, jetstream.ErrTooLarge) {
		t.Errorf("above the limit: %v", err)
	}
}

func TestDigestIsChecked(t *testing.T) {
	t.Parallel()
	st, _ := open(t)
	if _, err := st.Open(natstest.Within(t), "../x"); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("an invalid digest: %v", err)
	}
	_, err := st.Open(natstest.Within(t), content.Digest(bytes.Repeat([]byte("0"), 64)))
	wantMissing(t, err)
}
