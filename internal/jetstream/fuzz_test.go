package jetstream

import (
	"testing"

	"github.com/nats-io/nats.go"
)

// FuzzBody: decompressed data stays within its limit.
func FuzzBody(f *testing.F) {
	m := &nats.Msg{Data: make([]byte, 5000)}
	if err := Compress(m); err != nil {
		f.Fatal(err)
	}
	f.Add(m.Data)
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 4, 0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, most := range []int{1 << 20, 64 << 20} {
			m := &nats.Msg{Header: nats.Header{headerEncoding: {encodingZstd}}}
			if out, err := Decompress(m, data, most); err == nil && len(out) > most {
				t.Fatalf("%d bytes of at most %d", len(out), most)
			}
		}
	})
}
