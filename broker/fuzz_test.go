package broker

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/jobs"
)

// FuzzObjectEntry: an accepted entry names its own subject, and the chunks of one
// object only.
func FuzzObjectEntry(f *testing.F) {
	c := &Conn{names: names{"mp"}}
	const key = "abababababababababababababababababababababababababababababababab"
	subject := c.entrySubject(key)
	for _, text := range []string{
		`{"name":"` + key + `","nuid":"id","size":18446744073709551615,"chunks":1}`,
		`{"name":"` + key + `","nuid":">","size":5}`, `{"name":"` + key + `","deleted":true}`, `{"size":-1}`, ``, `null`, `[]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := c.parseEntry(located{msg: &nats.Msg{Subject: subject, Data: data}})
		if err != nil {
			return
		}
		if e.Name != key || !e.Deleted && !validToken(e.NUID) {
			t.Fatalf("%q is an entry: %+v", data, e)
		}
		c.usable(e, 5)
	})
}

// FuzzBody: decompressed data stays within its limit.
func FuzzBody(f *testing.F) {
	m := &nats.Msg{Data: make([]byte, 5000)}
	if err := compress(m); err != nil {
		f.Fatal(err)
	}
	f.Add(m.Data)
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 4, 0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, most := range []int{jobs.MaxSmall, jobs.MaxMessage} {
			if out, err := decompress(encodingZstd, data, most); err == nil && len(out) > most {
				t.Fatalf("%d bytes of at most %d", len(out), most)
			}
		}
	})
}

// FuzzSubjects: the parsed parts of a subject build the same subject.
func FuzzSubjects(f *testing.F) {
	n := names{"mp"}
	for _, s := range []string{"mp.job.any.r.m.1", "mp.log.r.m.1", "mp.run.r.mod.m", "mp.run.r.spec", "mp.log.r.m.99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		if lane, run, id, ok := n.parseJob(subject); ok && n.isJob(subject, &jobs.Job{Lane: lane, Run: run, Module: id.Module, Attempt: id.Attempt}) != (n.job(lane, run, id) == subject) {
			t.Fatalf("%q", subject)
		}
		if id, ok := n.parseLog(subject); ok && id.Attempt < 1 {
			t.Fatalf("%q is attempt %d", subject, id.Attempt)
		}
		n.parseRun(subject)
	})
}
