package broker

import (
	"maps"
	"slices"

	"github.com/modpipe/modpipe/jobs"
)

// A writer of output has several chunks on their way. One that was lost is sent
// again and then stored behind later ones. A reader puts them back in order by
// their numbers.

const (
	// mostAhead is how many chunks of a writer are kept for one that is missing.
	// A writer has no more on their way.
	mostAhead = 64
	// beatsAhead is for how many seconds without news they are kept.
	beatsAhead = 10
)

// writer is who has written a chunk: one delivery of an attempt's job.
type writer struct {
	key   jobs.Key
	nonce string
}

// ordered hands on the chunks of every writer by their numbers, once.
type ordered struct {
	f       func(LogEntry) error
	newest  map[writer]int
	ahead   map[writer]map[int]LogEntry // chunks that came before an earlier one
	waiting int                         // beats since something last arrived
}

func newOrdered(f func(LogEntry) error) *ordered {
	return &ordered{f: f, newest: map[writer]int{}, ahead: map[writer]map[int]LogEntry{}}
}

// add takes a chunk as it was stored.
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

// follow hands on what waits behind the newest chunk of a writer.
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

// skip gives up on what is missing before the first chunk that waits.
func (o *ordered) skip(w writer) error {
	first := slices.Min(slices.Collect(maps.Keys(o.ahead[w])))
	o.newest[w] = first - 1
	return o.follow(w)
}

// flush hands on all that waits.
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

// beat hears that nothing has arrived for a second.
func (o *ordered) beat() error {
	o.waiting++
	if o.waiting < beatsAhead {
		return nil
	}
	return o.flush()
}
