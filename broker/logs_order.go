package broker

import (
	"maps"
	"slices"

	"github.com/modpipe/modpipe/jobs"
)

// A writer sends several chunks of output without waiting for each. A lost chunk
// is sent again, and then stored behind later ones. A reader restores the order
// by the chunks' numbers.

const (
	// mostAhead is how many chunks of a writer wait for a missing one. A writer
	// sends no more without an acknowledgement.
	mostAhead = 64
	// beatsAhead is how many seconds they wait while nothing arrives.
	beatsAhead = 10
)

// writer identifies the writer of a chunk: one delivery of an attempt's job.
type writer struct {
	id    jobs.AttemptID
	nonce string
}

// ordered hands on the chunks of every writer by their numbers, once.
type ordered struct {
	f       func(LogEntry) error
	newest  map[writer]int
	ahead   map[writer]map[int]LogEntry // chunks that came before an earlier one
	waiting int                         // beats since the last arrival
}

func newOrdered(f func(LogEntry) error) *ordered {
	return &ordered{f: f, newest: map[writer]int{}, ahead: map[writer]map[int]LogEntry{}}
}

// add takes the next chunk in the order of storage.
func (o *ordered) add(w writer, e LogEntry) error {
	o.waiting = 0
	n := e.Chunk.Number
	if n <= o.newest[w] {
		return nil // it was stored twice
	}
	if n > o.newest[w]+1 {
		if o.ahead[w] == nil {
			o.ahead[w] = map[int]LogEntry{}
		}
		o.ahead[w][n] = e
		if len(o.ahead[w]) > mostAhead { // the one before it is gone for good
			return o.skip(w)
		}
		return nil
	}
	if err := o.hand(w, e); err != nil {
		return err
	}
	return o.follow(w)
}

func (o *ordered) hand(w writer, e LogEntry) error {
	if err := o.f(e); err != nil {
		return err
	}
	o.newest[w] = e.Chunk.Number
	return nil
}

// follow hands on the chunks that directly follow the newest one of a writer.
func (o *ordered) follow(w writer) error {
	for {
		e, ok := o.ahead[w][o.newest[w]+1]
		if !ok {
			break
		}
		delete(o.ahead[w], e.Chunk.Number)
		if err := o.hand(w, e); err != nil {
			return err
		}
	}
	if len(o.ahead[w]) == 0 {
		delete(o.ahead, w)
	}
	return nil
}

// skip gives up on the chunks that are missing before the first waiting one.
func (o *ordered) skip(w writer) error {
	first := slices.Min(slices.Collect(maps.Keys(o.ahead[w])))
	o.newest[w] = first - 1
	return o.follow(w)
}

// flush hands on all waiting chunks.
func (o *ordered) flush() error {
	for w := range o.ahead {
		for len(o.ahead[w]) > 0 {
			if err := o.skip(w); err != nil {
				return err
			}
		}
	}
	return nil
}

// beat counts a second in which nothing arrived.
func (o *ordered) beat() error {
	o.waiting++
	if o.waiting < beatsAhead {
		return nil
	}
	return o.flush()
}
