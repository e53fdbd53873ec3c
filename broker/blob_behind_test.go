package broker_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

// largeOutputs stores outputs that go to the object store.
func largeOutputs(t *testing.T, c *broker.Conn) jobs.Outputs {
	t.Helper()
	o := must[jobs.Outputs](t)(c.Values.PutOutputs(within(t), map[string]string{"v": strings.Repeat("0123456789", 50_000)}))
	if o.Blob.SHA256 == "" {
		t.Fatal("they are stored inline")
	}
	return o
}

func wantLarge(t *testing.T, c *broker.Conn, o jobs.Outputs) {
	t.Helper()
	read := must[map[string]string](t)(c.Values.Outputs(within(t), o))
	if len(read["v"]) != 500_000 {
		t.Errorf("%d bytes are read", len(read["v"]))
	}
}

// TestBlobFromAReplicaThatIsBehind: the cluster places the consumer of the chunks on
// a dead server, and then on a replica without the chunks.
func TestBlobFromAReplicaThatIsBehind(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		c := memory(t, s)
		defer c.Close()
		o := largeOutputs(t, c)
		asked := map[string]int{}
		consumers(t, s, "OBJ_mp-blobs", "$O.>", func(cfg map[string]any) bool {
			asked[cfg["name"].(string)]++
			if len(asked) == 2 || len(asked) == 3 {
				cfg["filter_subject"] = "$O.mp-blobs.C.none"
			}
			return len(asked) > 1
		})
		wantLarge(t, c, o)
		if len(asked) < 4 {
			t.Errorf("only %d consumers were placed", len(asked))
		}
	})
}

// TestBlobReplacedWhileItIsRead: another writer stores the blob again after its entry
// was read, and drops the chunks of that entry.
func TestBlobReplacedWhileItIsRead(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		c := memory(t, s)
		defer c.Close()
		ctx := within(t)
		o := largeOutputs(t, c)
		js := must[jetstream.JetStream](t)(jetstream.New(s.Connect(t)))
		blobs := must[jetstream.Stream](t)(js.Stream(ctx, "OBJ_mp-blobs"))
		var restore func()
		restore = consumers(t, s, "OBJ_mp-blobs", "$O.>", func(map[string]any) bool {
			restore()
			storeAnew(t, js, blobs)
			return true
		})
		wantLarge(t, c, o)
	})
}

// storeAnew puts a copy of the only blob in its place.
func storeAnew(t *testing.T, js jetstream.JetStream, blobs jetstream.Stream) {
	t.Helper()
	ctx := within(t)
	for seq := uint64(1); ; seq++ {
		stored := must[*jetstream.RawStreamMsg](t)(blobs.GetMsg(ctx, seq))
		var entry map[string]any
		if json.Unmarshal(stored.Data, &entry) != nil {
			must[*jetstream.PubAck](t)(js.Publish(ctx, "$O.mp-blobs.C.new", stored.Data))
			continue
		}
		entry["nuid"] = "new"
		must[*jetstream.PubAck](t)(js.Publish(ctx, stored.Subject, must[[]byte](t)(json.Marshal(entry))))
		check(t, blobs.Purge(ctx, jetstream.WithPurgeSequence(seq+1)))
		return
	}
}

// TestDamagedBlob: a reader does not wait for the missing chunks of an entry.
func TestDamagedBlob(t *testing.T) {
	s := natstest.InProcess(t)
	c := connect(t, s)
	o := largeOutputs(t, c)
	js := must[jetstream.JetStream](t)(jetstream.New(s.Connect(t)))
	blobs := must[jetstream.Stream](t)(js.Stream(within(t), "OBJ_mp-blobs"))
	check(t, blobs.Purge(within(t), jetstream.WithPurgeSubject("$O.mp-blobs.C.>")))
	if _, err := c.Values.Outputs(within(t), o); !errors.Is(err, broker.ErrNotFound) || !strings.Contains(err.Error(), "0 of its 500009 bytes") {
		t.Errorf("%v", err)
	}
}

// TestBlobIsReadAgainAfterAStaleAnswer: a leader that was paused and replaced reports
// a blob missing until it learns of the new leader. Without replicas the first
// answer counts.
func TestBlobIsReadAgainAfterAStaleAnswer(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		c := memory(t, s)
		defer c.Close()
		o := largeOutputs(t, c)
		asked := 0
		var restore func()
		restore = between(t, s, "$JS.API.STREAM.MSG.GET.OBJ_mp-blobs", "get", func(_ *nats.Conn, m *nats.Msg) {
			if asked++; asked == 3 {
				restore()
			}
			check(t, m.Respond([]byte(`{"error": {"code": 404, "err_code": 10037, "description": "no message found"}}`)))
		})
		if _, err := c.Values.Outputs(within(t), o); !errors.Is(err, broker.ErrNotFound) || asked != 1 {
			t.Errorf("without copies, asked %d times: %v", asked, err)
		}
		between(t, s, "$JS.API.STREAM.INFO.OBJ_mp-blobs", "info", func(_ *nats.Conn, m *nats.Msg) {
			check(t, m.Respond([]byte(`{"config": {"num_replicas": 3}}`)))
		})
		wantLarge(t, c, o)
		if asked != 3 {
			t.Errorf("asked %d times", asked)
		}
	})
}
