package broker_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/natstest"
)

// largeOutputs stores outputs that go to the object store.
func largeOutputs(t *testing.T, c *broker.Conn) jobs.Outputs {
	t.Helper()
	o := must[jobs.Outputs](t)(c.PutOutputs(within(t), map[string]string{"v": strings.Repeat("0123456789", 50_000)}))
	if o.Blob.SHA256 == "" {
		t.Fatal("they are stored inline")
	}
	return o
}

func wantLarge(t *testing.T, c *broker.Conn, o jobs.Outputs) {
	t.Helper()
	read := must[map[string]string](t)(c.Outputs(within(t), o))
	if len(read["v"]) != 500_000 {
		t.Errorf("%d bytes are read", len(read["v"]))
	}
}

// TestBlobFromAReplicaThatIsBehind: the consumer of the chunks is placed on a
// dead server first, then on a replica that has nothing of them.
func TestBlobFromAReplicaThatIsBehind(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		c := memory(t, s)
		defer c.Close()
		o := largeOutputs(t, c)
		asked := map[string]int{}
		between(t, s, "$JS.API.CONSUMER.CREATE.OBJ_mp-blobs.*.$O.>", "{{wildcard(1)}}.>", func(nc *nats.Conn, m *nats.Msg) {
			var ask map[string]any
			if err := json.Unmarshal(m.Data, &ask); err != nil {
				t.Error(err)
			}
			cfg := ask["config"].(map[string]any)
			name := cfg["name"].(string)
			asked[name]++
			switch len(asked) {
			case 1:
				return
			case 2, 3:
				cfg["filter_subject"] = "$O.mp-blobs.C.none"
			}
			m.Data = must[[]byte](t)(json.Marshal(ask))
			m.Subject = "$JS.API.CONSUMER.CREATE.OBJ_mp-blobs." + name
			check(t, nc.PublishMsg(m))
		})
		wantLarge(t, c, o)
		if len(asked) < 4 {
			t.Errorf("only %d consumers were placed", len(asked))
		}
	})
}

// TestBlobFromALeaderOfThePast: a leader that was stopped says that there is
// no such blob, until it hears that it leads no more. Where there are no
// copies, nobody else can know better.
func TestBlobFromALeaderOfThePast(t *testing.T) {
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
		if _, err := c.Outputs(within(t), o); !errors.Is(err, broker.ErrNotFound) || asked != 1 {
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
