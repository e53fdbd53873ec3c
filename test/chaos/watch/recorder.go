package watch

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"slices"
	"sync"
	"time"
)

// Exec is one execution of a command. Times are since the Recorder began.
type Exec struct {
	ID int
	Hello
	Start   time.Duration
	First   time.Duration // first beat that was taken; 0 = none
	Last    time.Duration // last start, beat or bye that was taken
	Refused []Refusal
	Bye     time.Duration // it said that it ends; 0 = it did not
	Code    int           // with Bye
	Gone    time.Duration // its process was; 0 = it is there
}

// Refusal is a start or a beat that the fence refused.
type Refusal struct {
	At   time.Duration
	Lock string
}

// Recorder keeps the history. Safe for concurrent use.
type Recorder struct {
	began time.Time

	mu      sync.Mutex
	execs   []*Exec
	highest map[string]uint64 // by lock
	changed chan struct{}     // closed and replaced at every start and end
}

// NewRecorder begins a history.
func NewRecorder() *Recorder {
	return &Recorder{began: time.Now(), highest: map[string]uint64{}, changed: make(chan struct{})}
}

// Now is the Recorder's clock. It grows strictly enough: no two of its events
// are at the same time.
func (r *Recorder) Now() time.Duration { return time.Since(r.began) }

// Execs is the history so far.
func (r *Recorder) Execs() []Exec {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Exec, len(r.execs))
	for i, e := range r.execs {
		all[i] = *e
		all[i].Refused = slices.Clone(e.Refused)
	}
	return all
}

// Await waits until the history holds an execution that found accepts, and
// returns it.
func (r *Recorder) Await(ctx context.Context, found func(*Exec) bool) (Exec, error) {
	for {
		r.mu.Lock()
		changed := r.changed
		for _, e := range r.execs {
			if found(e) {
				defer r.mu.Unlock()
				return *e, nil
			}
		}
		r.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return Exec{}, context.Cause(ctx)
		}
	}
}

// Serve listens to commands until ctx ends.
func (r *Recorder) Serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })() // ends Accept
	var commands sync.WaitGroup
	defer commands.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		commands.Go(func() { r.hear(ctx, conn) })
	}
}

// hear receives the messages of one command until its process has ended.
func (r *Recorder) hear(ctx context.Context, conn net.Conn) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer func() { _ = conn.Close() }() // it is gone, or we are going
	var e *Exec
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		var q request
		if json.Unmarshal(lines.Bytes(), &q) != nil {
			break
		}
		var answer reply
		if e, answer = r.take(e, q); e == nil {
			break
		}
		text, err := json.Marshal(answer)
		if err != nil {
			break
		}
		if _, err := conn.Write(append(text, '\n')); err != nil {
			break
		}
	}
	if e != nil && ctx.Err() == nil {
		r.gone(e)
	}
}

// take enters one thing that a command said.
func (r *Recorder) take(e *Exec, q request) (*Exec, reply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.Now()
	if e == nil {
		if q.Hello == nil {
			return nil, reply{}
		}
		e = &Exec{ID: len(r.execs) + 1, Hello: *q.Hello, Start: now, Last: now}
		r.execs = append(r.execs, e)
		r.tell()
	}
	if refused := r.fence(e, now); len(refused) > 0 {
		e.Refused = append(e.Refused, refused...)
		return e, reply{Exec: e.ID, Fenced: true}
	}
	e.Last = now
	switch {
	case q.Beat && e.First == 0:
		e.First = now
	case q.Bye != nil:
		e.Bye, e.Code = now, *q.Bye
		r.tell()
	}
	return e, reply{Exec: e.ID}
}

// fence compares the command's token with the newest of each of its keys.
func (r *Recorder) fence(e *Exec, now time.Duration) []Refusal {
	var refused []Refusal
	for _, l := range e.Locks {
		if !l.Fenced() {
			continue
		}
		if e.Token < r.highest[l.Name] {
			refused = append(refused, Refusal{now, l.Name})
			continue
		}
		r.highest[l.Name] = e.Token
	}
	return refused
}

func (r *Recorder) gone(e *Exec) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.Gone = r.Now()
	r.tell()
}

// tell wakes the waiting goroutines. The caller holds mu.
func (r *Recorder) tell() {
	close(r.changed)
	r.changed = make(chan struct{})
}
