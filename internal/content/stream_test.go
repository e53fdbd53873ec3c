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
	natsjs "github.com/nats-io/nats.go/jetstream"

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

// TestCompressedValue: what compresses is stored short, arrives whole, and damage in it
// is found. What does not compress is stored as it is, also in the same value.
func TestCompressedValue(t *testing.T) {
	t.Parallel()
	st, s := open(t)
	ctx := natstest.Within(t)
	value := bytes.Repeat([]byte("a line of text\n"), 5<<20/15)
	value = append(value, noise(7<<20)...)
	value = append(value, bytes.Repeat([]byte("the end\n"), 1<<10)...)
	d := natstest.Must[content.Digest](t)(st.Put(ctx, bytes.NewReader(value)))
	if stored := natstest.Must[jetstream.Usage](t)(st.Usage(ctx)).Bytes; stored < 7<<20 || stored > 8<<20 {
		t.Errorf("of %d bytes %d are stored", len(value), stored)
	}
	r := natstest.Must[io.ReadCloser](t)(st.Open(ctx, d))
	var read bytes.Buffer
	natstest.Must[int64](t)(r.(io.WriterTo).WriteTo(&read))
	if !bytes.Equal(read.Bytes(), value) {
		t.Errorf("of %d bytes %d other ones are read", len(value), read.Len())
	}
	if all := natstest.Must[[]byte](t)(st.Bytes(ctx, d, len(value))); !bytes.Equal(all, value) {
		t.Errorf("of %d bytes %d other ones are read together", len(value), len(all))
	}
	js := natstest.Must[natsjs.JetStream](t)(natsjs.New(s.Connect(t)))
	blobs := natstest.Must[natsjs.Stream](t)(js.Stream(ctx, "OBJ_mp-blobs"))
	info := natstest.Must[*natsjs.StreamInfo](t)(blobs.Info(ctx, natsjs.WithSubjectFilter("$O.mp-blobs.C.>")))
	for subject := range info.State.Subjects {
		if !strings.Contains(subject, "-") {
			continue
		}
		m := natstest.Must[*natsjs.RawStreamMsg](t)(blobs.GetLastMsgForSubject(ctx, subject))
		m.Data[len(m.Data)/2] ^= 1
		natstest.Must[*natsjs.PubAck](t)(js.Publish(ctx, subject, m.Data))
	}
	if data, err := st.Bytes(ctx, d, len(value)); !errors.Is(err, content.ErrDamaged) {
		t.Errorf("damaged: %d bytes, %v", len(data), err)
	}
}

// TestUncheckedIsStoredAsItIs: its writer has compressed it.
func TestUncheckedIsStoredAsItIs(t *testing.T) {
	t.Parallel()
	st, _ := open(t)
	ctx := natstest.Within(t)
	v := content.Value{Digest: content.DigestOf(nil), Size: 1 << 20, Unchecked: true}
	if sent := natstest.Must[int64](t)(st.Send(ctx, v, bytes.NewReader(make([]byte, v.Size)))); sent != v.Size {
		t.Errorf("of %d bytes %d are sent", v.Size, sent)
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
