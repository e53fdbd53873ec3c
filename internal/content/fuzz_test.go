package content

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/jetstream"
)

// FuzzObjectEntry: an accepted entry names its own subject, and the chunks of one
// object only.
func FuzzObjectEntry(f *testing.F) {
	s := New(nil, "mp-blobs", time.Hour)
	const key = "abababababababababababababababababababababababababababababababab"
	subject := s.entrySubject(key)
	for _, text := range []string{
		`{"name":"` + key + `","nuid":"id","size":18446744073709551615,"chunks":1}`,
		`{"name":"` + key + `","nuid":">","size":5}`, `{"name":"` + key + `","deleted":true}`, `{"size":-1}`, ``, `null`, `[]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := s.parseEntry(jetstream.Message{Msg: &nats.Msg{Subject: subject, Data: data}})
		if err != nil {
			return
		}
		if e.Name != key || !e.Deleted && !idPattern.MatchString(e.NUID) {
			t.Fatalf("%q is an entry: %+v", data, e)
		}
		s.usable(e, 5)
	})
}
