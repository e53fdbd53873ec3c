package mask

import "io"

// FoundError says that a text contains a secret.
type FoundError struct{ Secret string }

func (e *FoundError) Error() string { return "it contains the secret " + e.Secret }

// Reader returns what r reads, and a *FoundError at the first secret, before its last
// byte was returned.
func (m *Masker) Reader(r io.Reader) io.Reader {
	if m == nil {
		return r
	}
	return &reader{m: m, r: r}
}

type reader struct {
	m     *Masker
	r     io.Reader
	state int32
	err   error
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.r.Read(p)
	r.state = r.m.a.scan(r.state, p[:n], func(_ int, _, owner int32) bool {
		r.err = &FoundError{Secret: r.m.names[owner]}
		return true
	})
	if r.err != nil {
		clear(p[:n])
		return 0, r.err
	}
	return n, err
}
