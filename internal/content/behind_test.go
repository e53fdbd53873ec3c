package content_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/test/natstest"
)

// large is the size of a value of several chunks.
const large = 500_000

func wantLarge(t *testing.T, st content.Store, d content.Digest) {
	t.Helper()
	read := natstest.Must[[]byte](t)(st.Bytes(natstest.Within(t), d, large))
	if !bytes.Equal(read, noise(large)) {
		t.Errorf("%d other bytes are read", len(read))
	}
}

// TestBlobIsReadAgainAfterAStaleAnswer: a replica that is behind reports a blob or a
// part of it missing. Without replicas the first answer counts.
func TestBlobIsReadAgainAfterAStaleAnswer(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		st, c := store(t, s)
		defer c.Close()
		d := natstest.Must[content.Digest](t)(st.PutBytes(natstest.Within(t), noise(large)))
		for _, part := range []string{"M", "C"} {
			asked := 0
			var restore func()
			behind := func() {
				asked = 0
				restore = s.Between(t, "$JS.API.DIRECT.GET.OBJ_mp-blobs.$O.mp-blobs."+part+".>", ">", func(_ *nats.Conn, m *nats.Msg) {
					if asked++; asked == 3 {
						restore()
					}
					natstest.Check(t, m.RespondMsg(&nats.Msg{Header: nats.Header{"Status": {"404"}, "Description": {"Message Not Found"}}}))
				})
			}
			behind()
			if _, err := st.Bytes(natstest.Within(t), d, large); part == "M" && (!errors.Is(err, jetstream.ErrNotFound) || asked != 1) {
				t.Errorf("without copies, asked %d times: %v", asked, err)
			}
			restore()
			unrestore := s.Between(t, "$JS.API.STREAM.INFO.OBJ_mp-blobs", "info", func(_ *nats.Conn, m *nats.Msg) {
				natstest.Check(t, m.Respond([]byte(`{"config": {"num_replicas": 3}}`)))
			})
			behind()
			wantLarge(t, content.New(c, streams.BlobsBucket, "main", streams.BlobsAge), d) // it knows nothing of the stream
			if asked < 3 {
				t.Errorf("asked %d times", asked)
			}
			unrestore()
		}
	})
}

// TestDamagedBlob: a reader does not wait for the missing chunks of an entry.
func TestDamagedBlob(t *testing.T) {
	st, s := open(t)
	d := natstest.Must[content.Digest](t)(st.PutBytes(natstest.Within(t), noise(large)))
	js := natstest.Must[natsjs.JetStream](t)(natsjs.New(s.Connect(t)))
	blobs := natstest.Must[natsjs.Stream](t)(js.Stream(natstest.Within(t), "OBJ_mp-blobs"))
	natstest.Check(t, blobs.Purge(natstest.Within(t), natsjs.WithPurgeSubject("$O.mp-blobs.C.>")))
	if _, err := st.Bytes(natstest.Within(t), d, large); !errors.Is(err, jetstream.ErrNotFound) || !strings.Contains(err.Error(), "of 500000") {
		t.Errorf("%v", err)
	}
}
