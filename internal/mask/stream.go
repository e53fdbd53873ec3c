package mask

// Stream masks one text that arrives in pieces. It holds back no more than what may
// begin a secret: nothing, where the last bytes begin none. It is not safe for
// concurrent use.
//
// Everything that belongs to an occurrence of a secret is masked, also where several
// overlap; what is masked without a gap becomes one Mask.
type Stream struct {
	m     *Masker
	state int32
	held  []byte
	spare []byte // takes turns with held, because what was returned may be a part of it
	marks []mark // in held, ordered, with gaps between them
	after bool   // a Mask is the last that was returned
	out   []byte
}

// mark is a part of held that is masked.
type mark struct{ from, to int }

// Stream returns a new Stream.
func (m *Masker) Stream() *Stream { return &Stream{m: m} }

// Next takes the next piece and returns the text that is ready, which is valid until
// the next call.
func (s *Stream) Next(piece []byte) []byte {
	if s.m == nil {
		return piece
	}
	text, read := piece, len(s.held)
	if read > 0 {
		s.held = append(s.held, piece...)
		text = s.held
	}
	s.state = s.m.a.scan(s.state, piece, func(end int, length, _ int32) bool {
		s.mark(read+end-int(length), read+end)
		return false
	})
	return s.emit(text, len(text)-int(s.m.a.depth[s.state]))
}

// Close returns the rest of the text. A part of a secret at its end is masked: the text
// may have been cut there.
func (s *Stream) Close() []byte {
	if s.m == nil {
		return nil
	}
	if n, cut := len(s.held), int(s.m.a.depth[s.state]); cut >= leastCut {
		s.mark(n-cut, n)
	}
	s.state = 0
	return s.emit(s.held, len(s.held))
}

// mark masks a part. Its beginning may have been returned, as a part of a Mask.
func (s *Stream) mark(from, to int) {
	from = max(from, 0)
	for n := len(s.marks); n > 0 && s.marks[n-1].to >= from; n-- {
		from = min(from, s.marks[n-1].from)
		s.marks = s.marks[:n-1]
	}
	s.marks = append(s.marks, mark{from, to})
}

// emit returns the text up to safe, before which no further secret can begin, and a
// mark that begins there. It holds the rest.
func (s *Stream) emit(text []byte, safe int) []byte {
	out, at, done := s.out[:0], 0, 0
	for _, m := range s.marks {
		if m.from > max(safe, 0) {
			break
		}
		out = append(out, text[at:m.from]...)
		if m.from > at || !s.after {
			out = append(out, Mask...)
		}
		at, s.after = m.to, true
		done++
	}
	if plain := text[at:max(at, safe)]; len(plain) > 0 {
		at, s.after = safe, false
		if done == 0 {
			out = plain
		} else {
			out = append(out, plain...)
		}
	}
	if done > 0 {
		s.out = out
	}
	s.held, s.spare = append(s.spare[:0], text[at:]...), s.held
	s.marks = append(s.marks[:0], s.marks[done:]...)
	for i := range s.marks {
		s.marks[i].from -= at
		s.marks[i].to -= at
	}
	return out
}
