package content

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/jetstream"
)

// FuzzEntry: no entry makes a reader allocate much, or read what is not the value's.
func FuzzEntry(f *testing.F) {
	s := New(nil, "b", "main", time.Hour)
	const digest = Digest("0000000000000000000000000000000000000000000000000000000000000000")
	for _, e := range []string{
		`{"digest":"` + string(digest) + `","size":5,"segments":[{"chunk":16384,"sum":1,"short":4}],"refs":["main/` + string(digest) + `"]}`,
		`{"digest":"` + string(digest) + `","size":0,"segments":[]}`,
		`{"digest":"` + string(digest) + `","size":9223372036854775807,"segments":[{"chunk":-1}]}`,
		`{"digest":"x","size":-1}`, `[]`, ``,
	} {
		f.Add(e)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := s.parseEntry(jetstream.Message{Msg: &nats.Msg{Subject: s.entrySubject(digest), Data: []byte(text)}})
		if err != nil {
			return
		}
		length := segmentLength(e.Size)
		switch {
		case e.Digest != digest, e.Size < 0, e.Size > mostBytes, length > longestSegment:
			t.Errorf("%q is the entry of %s with %d bytes", text, e.Digest, e.Size)
		case int64(len(e.Segments))*length < e.Size, int64(len(e.Segments)-1)*length >= max(e.Size, 1):
			t.Errorf("%d bytes are in %d segments of %d", e.Size, len(e.Segments), length)
		}
		for i, g := range e.Segments {
			if g.Short < 0 || int64(g.Short) >= segmentSize(e.Size, i) {
				t.Errorf("of segment %d of %d bytes %d are stored", i, segmentSize(e.Size, i), g.Short)
			}
			if length%int64(g.Chunk) != 0 || chunkNumber(e.Size, i, g.Chunk)*g.Chunk != i*int(length) {
				t.Errorf("segment %d of %d bytes is in chunks of %d", i, length, g.Chunk)
			}
		}
		for _, ref := range e.refs() {
			if !ValidNamespace(ref.Namespace) || !ref.Digest.Valid() {
				t.Errorf("%q refers to %+v", text, ref)
			}
		}
		s.usable(e)
	})
}
