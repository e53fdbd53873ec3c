package content_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
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

// TestBlobFromAReplicaThatIsBehind: the cluster places the consumer of the chunks on
// a dead server, and then on a replica without the chunks.
func TestBlobFromAReplicaThatIsBehind(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		st, c := store(t, s)
		defer c.Close()
		d := natstest.Must[content.Digest](t)(st.PutBytes(natstest.Within(t), noise(large)))
		asked := map[string]int{}
		s.Consumers(t, "OBJ_mp-blobs", "$O.>", func(cfg map[string]any) bool {
			asked[cfg["name"].(string)]++
			if len(asked) == 2 || len(asked) == 3 {
				cfg["filter_subject"] = "$O.mp-blobs.C.none"
			}
			return len(asked) > 1
		})
		wantLarge(t, st, d)
		if len(asked) < 4 {
			t.Errorf("only %d consumers were placed", len(asked))
		}
	})
}

// TestBlobReplacedWhileItIsRead: another writer stores the blob again after its entry
// was read, and drops the chunks of that entry.
func TestBlobReplacedWhileItIsRead(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		st, c := store(t, s)
		defer c.Close()
		ctx := natstest.Within(t)
		d := natstest.Must[content.Digest](t)(st.PutBytes(natstest.Within(t), noise(large)))
		js := natstest.Must[natsjs.JetStream](t)(natsjs.New(s.Connect(t)))
		blobs := natstest.Must[natsjs.Stream](t)(js.Stream(ctx, "OBJ_mp-blobs"))
		var restore func()
		restore = s.Consumers(t, "OBJ_mp-blobs", "$O.>", func(map[string]any) bool {
			restore()
			storeCopy(t, js, blobs)
			return true
		})
		wantLarge(t, st, d)
	})
}

// storeCopy puts a copy of the only blob in its place.
func storeCopy(t *testing.T, js natsjs.JetStream, blobs natsjs.Stream) {
	t.Helper()
	ctx := natstest.Within(t)
	for seq := uint64(1); ; seq++ {
		stored := natstest.Must[*natsjs.RawStreamMsg](t)(blobs.GetMsg(ctx, seq))
		var entry map[string]any
		if json.Unmarshal(stored.Data, &entry) != nil {
			natstest.Must[*natsjs.PubAck](t)(js.Publish(ctx, "$O.mp-blobs.C.new", stored.Data))
			continue
		}
		entry["nuid"] = "new"
		natstest.Must[*natsjs.PubAck](t)(js.Publish(ctx, stored.Subject, natstest.Must[[]byte](t)(json.Marshal(entry))))
		natstest.Check(t, blobs.Purge(ctx, natsjs.WithPurgeSequence(seq+1)))
		return
	}
}

// TestDamagedBlob: a reader does not wait for the missing chunks of an entry.
func TestDamagedBlob(t *testing.T) {
	st, s := open(t)
	d := natstest.Must[content.Digest](t)(st.PutBytes(natstest.Within(t), noise(large)))
	js := natstest.Must[natsjs.JetStream](t)(natsjs.New(s.Connect(t)))
	blobs := natstest.Must[natsjs.Stream](t)(js.Stream(natstest.Within(t), "OBJ_mp-blobs"))
	natstest.Check(t, blobs.Purge(natstest.Within(t), natsjs.WithPurgeSubject("$O.mp-blobs.C.>")))
	if _, err := st.Bytes(natstest.Within(t), d, large); !errors.Is(err, jetstream.ErrNotFound) || !strings.Contains(err.Error(), "0 of its 500000 bytes") {
		t.Errorf("%v", err)
	}
}

// TestBlobIsReadAgainAfterAStaleAnswer: a leader that was paused and replaced reports
// a blob missing until it learns of the new leader. Without replicas the first
// answer counts.
func TestBlobIsReadAgainAfterAStaleAnswer(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		st, c := store(t, s)
		defer c.Close()
		d := natstest.Must[content.Digest](t)(st.PutBytes(natstest.Within(t), noise(large)))
		asked := 0
		var restore func()
		restore = s.Between(t, "$JS.API.STREAM.MSG.GET.OBJ_mp-blobs", "get", func(_ *nats.Conn, m *nats.Msg) {
			if asked++; asked == 3 {
				restore()
			}
			natstest.Check(t, m.Respond([]byte(`{"error": {"code": 404, "err_code": 10037, "description": "no message found"}}`)))
		})
		if _, err := st.Bytes(natstest.Within(t), d, large); !errors.Is(err, jetstream.ErrNotFound) || asked != 1 {
			t.Errorf("without copies, asked %d times: %v", asked, err)
		}
		s.Between(t, "$JS.API.STREAM.INFO.OBJ_mp-blobs", "info", func(_ *nats.Conn, m *nats.Msg) {
			natstest.Check(t, m.Respond([]byte(`{"config": {"num_replicas": 3}}`)))
		})
		wantLarge(t, st, d)
		if asked != 3 {
			t.Errorf("asked %d times", asked)
		}
	})
}
