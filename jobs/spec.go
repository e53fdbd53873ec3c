package jobs

import (
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/modpipe/modpipe/pipeline"
)

// plainSpec is a Spec without its own encoding.
type plainSpec Spec

// sentSpec is a Spec as it travels: it contains each distinct list of needs once,
// since there may be a hundred times as many needs as modules.
type sentSpec struct {
	plainSpec `msgpack:",inline"`

	Lists [][]pipeline.Need `msgpack:"needs,omitempty"`
	Of    []int             `msgpack:"needs_of,omitempty"` // by module: its list in Lists, from 1; 0 = none
}

var (
	_ msgpack.CustomEncoder = (*Spec)(nil)
	_ msgpack.CustomDecoder = (*Spec)(nil)
)

// EncodeMsgpack writes the specification with the needs of its modules.
func (s *Spec) EncodeMsgpack(enc *msgpack.Encoder) error {
	sent := sentSpec{plainSpec: plainSpec(*s)}
	if s.Pipeline != nil {
		var lists pipeline.NeedLists
		of := make([]int, len(s.Pipeline.Modules))
		for i, m := range s.Pipeline.Modules {
			of[i] = lists.Number(m.Needs)
		}
		if len(lists.Lists) > 0 {
			sent.Lists, sent.Of = lists.Lists, of
		}
	}
	return enc.Encode(&sent)
}

// DecodeMsgpack is the inverse. Modules that need the same share one list.
func (s *Spec) DecodeMsgpack(dec *msgpack.Decoder) error {
	var sent sentSpec
	if err := dec.Decode(&sent); err != nil {
		return err
	}
	*s = Spec(sent.plainSpec)
	s.sharePrograms()
	if len(sent.Of) == 0 {
		return nil
	}
	if s.Pipeline == nil || len(sent.Of) != len(s.Pipeline.Modules) {
		return fmt.Errorf("needs of %d modules that do not exist", len(sent.Of))
	}
	for i, m := range s.Pipeline.Modules {
		n := sent.Of[i]
		switch {
		case n == 0:
		case n < 0 || n > len(sent.Lists) || m == nil:
			return fmt.Errorf("module %d has the needs of list %d, which is not among the %d lists", i, n, len(sent.Lists))
		default:
			m.Needs = sent.Lists[n-1]
		}
	}
	return nil
}

// sharePrograms has all modules that require the same program require one.
func (s *Spec) sharePrograms() {
	if s.Pipeline == nil {
		return
	}
	known := map[pipeline.Program]*pipeline.Program{}
	for _, m := range s.Pipeline.Modules {
		if m == nil || m.Requires.Program == nil {
			continue
		}
		p, ok := known[*m.Requires.Program]
		if !ok {
			p = m.Requires.Program
			known[*p] = p
		}
		m.Requires.Program = p
	}
}
