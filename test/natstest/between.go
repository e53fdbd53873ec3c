package natstest

import (
	"encoding/json"
	"testing"

	"github.com/nats-io/nats.go"
)

// Between answers requests of clients in place of JetStream, until restore is
// called. It receives the requests on subject. The mapping keeps part of the subject: a
// token, ">" or wildcards. A real cluster shows some faults only after losses of nodes. A
// test causes them reliably in this way, also in fake time.
func (s *Server) Between(t testing.TB, subject, part string, f func(nc *nats.Conn, m *nats.Msg)) (restore func()) {
	t.Helper()
	nc := s.Connect(t)
	own := nc.NewInbox()
	if _, err := nc.Subscribe(own+".>", func(m *nats.Msg) { f(nc, m) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return s.Divert(t, subject, own+"."+part)
}

// Consumers lets f change the consumers of a stream's readers before they are
// created, until restore is called. If f returns false, the request is not answered.
func (s *Server) Consumers(t testing.TB, stream, filter string, f func(cfg map[string]any) bool) (restore func()) {
	t.Helper()
	create := "$JS.API.CONSUMER.CREATE." + stream + "."
	return s.Between(t, create+"*."+filter, "{{wildcard(1)}}.>", func(nc *nats.Conn, m *nats.Msg) {
		var ask struct {
			Stream string         `json:"stream_name"`
			Config map[string]any `json:"config"`
			Action string         `json:"action"`
		}
		if err := json.Unmarshal(m.Data, &ask); err != nil {
			t.Error(err)
		}
		if !f(ask.Config) {
			return
		}
		data, err := json.Marshal(ask)
		if err != nil {
			t.Error(err)
		}
		m.Data = data
		m.Subject = create + ask.Config["name"].(string)
		if err := nc.PublishMsg(m); err != nil {
			t.Error(err)
		}
	})
}
