package puller

import (
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// AckWait is how long a delivered job may stay without Ack or InProgress.
const AckWait = streams.AckWait

// Delivery is a job that was pulled.
type Delivery struct {
	Job            jobs.Job
	Lane           jobs.Lane
	Slots          int    // how many of the puller's slots it holds: give them back with Puller.Release
	MaybeDuplicate bool   // redelivered, marked again, or stored after its store-by time
	Older          bool   // perhaps stored before this connection was established
	Connection     uint64 // number of the connection on which it was asked for
	msg            *nats.Msg
	c              *jetstream.Conn
}

// Messages to a delivery's reply subject.
var (
	ackDone     = []byte("+ACK")
	ackNak      = []byte("-NAK")
	ackProgress = []byte("+WPI")
)

// Ack removes the job from the queue; call it after the outcome is stored. Ack
// and InProgress do nothing on another connection than the delivery's: after a
// restart of the server, another job may have the sequence. The job is then
// delivered again, and found to be closed.
func (d *Delivery) Ack() error { return d.reply(ackDone) }

// InProgress delays the redelivery by another AckWait; call it every AckWait/3.
func (d *Delivery) InProgress() error { return d.reply(ackProgress) }

func (d *Delivery) reply(what []byte) error {
	if d.c.Connection() != d.Connection {
		return nil
	}
	if err := answer(d.msg, what); err != nil {
		return fmt.Errorf("answer for %s: %w", d.msg.Subject, err)
	}
	return nil
}

// answer sends without waiting: a job whose answer is lost is delivered again.
func answer(m *nats.Msg, what []byte) error {
	return m.RespondMsg(&nats.Msg{Subject: m.Reply, Data: what})
}
