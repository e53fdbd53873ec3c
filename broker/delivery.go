package broker

import (
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/jobs"
)

// Delivery is a job that was pulled.
type Delivery struct {
	Job      jobs.Job
	Lane     jobs.Lane
	Slots    int  // how many of the puller's slots it holds: give them back with Puller.Release
	Doubtful bool // redelivered, marked again, stored after its store-by time or before this connection was made
	msg      *nats.Msg
}

// What is sent to a delivery's reply subject.
var (
	ackDone     = []byte("+ACK")
	ackNak      = []byte("-NAK")
	ackProgress = []byte("+WPI")
)

// Ack removes the job from the queue; call it after the outcome is stored.
func (d *Delivery) Ack() error { return d.reply(ackDone) }

// InProgress holds off the redelivery for another AckWait; send it every
// AckWait/3.
func (d *Delivery) InProgress() error { return d.reply(ackProgress) }

func (d *Delivery) reply(what []byte) error {
	if err := answer(d.msg, what); err != nil {
		return fmt.Errorf("answer for %s: %w", d.msg.Subject, err)
	}
	return nil
}

// answer is sent without a wait: what is lost is delivered again.
func answer(m *nats.Msg, what []byte) error {
	return m.RespondMsg(&nats.Msg{Subject: m.Reply, Data: what})
}
