// Package watch observes the commands of modules from outside.
//
// Every command of a chaos run is a program that reports to a Recorder over a socket of
// the machine. It reports its start, a beat every few milliseconds, and its coming end,
// and waits for each answer. The connection ends with the process. So the Recorder knows
// how long each command ran, without trust in any other program. Only its clock and its
// order count.
//
// A Recorder is also the resource that keys protect, like a store behind a lock. It
// accepts a start or a beat under a key only with a fencing token that is not older than
// the newest one that it has seen. It remembers its refusals.
package watch

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"time"
)

// Lock is one thing that a command holds while it runs: a key (capacity and
// weight 1), a limit (capacity n, weight 1), or a run that it has to itself
// (weight = capacity).
type Lock struct {
	Name     string
	Capacity int
	Weight   int
}

// Fenced reports whether its holders come one after the other, so that
// fencing tokens tell an old one from a new one.
func (l Lock) Fenced() bool { return l.Capacity == 1 }

// Need is the end of a need, as the command received it.
type Need struct {
	Status string
	By     string // the execution whose result it was
}

// Hello describes a command at its start.
type Hello struct {
	Run     string
	Module  string
	Attempt int
	Worker  string
	Token   uint64 // 0 without a key
	PID     int
	Locks   []Lock
	Needs   map[string]Need
	Fault   string // the fault in its inputs
}

// request is one line from a command; one field is set.
type request struct {
	Hello *Hello `json:",omitempty"`
	Beat  bool   `json:",omitempty"`
	Bye   *int   `json:",omitempty"` // the exit code that follows
}

// reply is one line to it.
type reply struct {
	Exec   int  // the execution's number
	Fenced bool // a newer token was seen: go away
}

// Client is a command's connection to the Recorder.
type Client struct {
	conn net.Conn
	in   *bufio.Reader
}

// answering is how long a command waits for an answer: forever, nearly, since
// a machine may stop for a while.
const answering = 5 * time.Minute

// NewClient speaks over a connection.
func NewClient(conn net.Conn) *Client { return &Client{conn, bufio.NewReader(conn)} }

// Start sends hello and returns the execution's number; fenced: a newer token
// was seen.
func (c *Client) Start(h Hello) (exec int, fenced bool, err error) {
	r, err := c.ask(request{Hello: &h})
	return r.Exec, r.Fenced, err
}

// Beat reports that the command still runs.
func (c *Client) Beat() (fenced bool, err error) {
	r, err := c.ask(request{Beat: true})
	return r.Fenced, err
}

// End reports that the command exits now, with a code.
func (c *Client) End(code int) error {
	_, err := c.ask(request{Bye: &code})
	return err
}

func (c *Client) ask(q request) (reply, error) {
	text, err := json.Marshal(q)
	if err != nil {
		return reply{}, err
	}
	if err := c.conn.SetDeadline(time.Now().Add(answering)); err != nil {
		return reply{}, err
	}
	if _, err := c.conn.Write(append(text, '\n')); err != nil {
		return reply{}, err
	}
	line, err := c.in.ReadBytes('\n')
	if err != nil {
		return reply{}, err
	}
	var r reply
	if err := json.Unmarshal(line, &r); err != nil {
		return reply{}, fmt.Errorf("read %q: %w", line, err)
	}
	return r, nil
}
