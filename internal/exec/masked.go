package exec

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// maskedSink masks the secrets of an attempt in its output. Each stream is a text of
// its own.
type maskedSink struct {
	out     Sink
	streams map[jobs.Stream]*maskedStream
}

type maskedStream struct {
	mu     sync.Mutex // held over the write, which keeps the order
	text   *mask.Stream
	closed bool
}

func newMaskedSink(m *mask.Masker, out Sink) *maskedSink {
	s := &maskedSink{out: out, streams: map[jobs.Stream]*maskedStream{}}
	for _, stream := range []jobs.Stream{jobs.Stdout, jobs.Stderr} {
		s.streams[stream] = &maskedStream{text: m.Stream()}
	}
	return s
}

// Write implements Sink. It passes on what cannot belong to a secret any more.
func (s *maskedSink) Write(stream jobs.Stream, data []byte) {
	in := s.streams[stream]
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return
	}
	if ready := in.text.Next(data); len(ready) > 0 {
		s.out.Write(stream, ready)
	}
}

// close writes what was held back.
func (s *maskedSink) close() {
	for stream, in := range s.streams {
		in.mu.Lock()
		in.closed = true
		if rest := in.text.Close(); len(rest) > 0 {
			s.out.Write(stream, rest)
		}
		in.mu.Unlock()
	}
}

// without is the result without secrets. Outputs that contain one are dropped, and fail
// an attempt that would have succeeded.
func (r Result) without(m *mask.Masker) Result {
	r = r.Masked(m)
	if faults := r.dropLeaks(m); len(faults) > 0 {
		if r.Status == report.AttemptSucceeded {
			r.Status, r.Error, r.Permanent = report.AttemptFailed, faults[0], true
			faults = faults[1:]
		}
		r.Warnings = append(r.Warnings, faults...)
	}
	return r
}

// Masked is the result with secrets masked in its texts. What it returns to other
// modules is unchanged.
func (r Result) Masked(m *mask.Masker) Result {
	r.Error, r.Reason, r.Abandoned = m.Text(r.Error), m.Text(r.Reason), m.Text(r.Abandoned)
	r.Warnings = slices.Clone(r.Warnings)
	for i, text := range r.Warnings {
		r.Warnings[i] = m.Text(text)
	}
	return r
}

// dropLeaks drops what the attempt would return and contains a secret, and says what.
func (r *Result) dropLeaks(m *mask.Masker) (faults []string) {
	if name, found := m.Find(r.Value); found {
		r.Typed, r.Value = false, nil
		faults = append(faults, ResultLeak(name))
	}
	if len(r.Outputs) == 0 {
		return faults
	}
	kept := make(map[string]string, len(r.Outputs))
	for _, key := range slices.Sorted(maps.Keys(r.Outputs)) {
		name, found := m.Find([]byte(key + "=" + r.Outputs[key]))
		if !found {
			kept[key] = r.Outputs[key]
			continue
		}
		faults = append(faults, fmt.Sprintf("output %q contains the secret %s: outputs are stored and shown, so a module that needs the secret has to declare it", m.Text(key), name))
	}
	r.Outputs = kept
	return faults
}

// ResultLeak is the error of a function whose result contains a secret.
func ResultLeak(secret string) string {
	return "its result contains the secret " + secret + ": results are stored, so a module that needs the secret has to declare it"
}
