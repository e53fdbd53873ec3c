package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// The floor is the durable cycle that every module costs on JetStream, and
// nothing else: publish a job on a work queue, pull it, commit a result by
// compare-and-set, acknowledge the job when the result is stored, and have
// the publisher read the result. Messages are of 200 bytes; there is no
// encoding, no graph, no log and no heartbeat.

const (
	floorJobs    = "FLOOR_JOBS"
	floorResults = "FLOOR_RESULTS"
	floorWorker  = "worker"
	floorFlight  = 256 // jobs on their way at the same time
)

func floorStreams(js nats.JetStreamContext) error {
	if _, err := js.AddStream(&nats.StreamConfig{Name: floorJobs, Subjects: []string{"floor.job.>"}, Retention: nats.WorkQueuePolicy}); err != nil {
		return err
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: floorResults, Subjects: []string{"floor.result.>"}, AllowDirect: true}); err != nil {
		return err
	}
	_, err := js.AddConsumer(floorJobs, &nats.ConsumerConfig{
		Durable: floorWorker, AckPolicy: nats.AckExplicitPolicy, MaxAckPending: -1, MaxWaiting: 20_000, AckWait: time.Minute,
	})
	return err
}

// floorOrchestrate publishes n jobs, at most flight at the same time, and returns when
// the last result has been read.
func floorOrchestrate(ctx context.Context, nc *nats.Conn, n, flight int) error {
	js, err := nc.JetStream(nats.PublishAsyncMaxPending(4 * floorFlight))
	if err != nil {
		return err
	}
	if err := floorStreams(js); err != nil {
		return err
	}
	results := make(chan struct{}, n) // all of them: the subscription's callback never waits
	sub, err := js.Subscribe("floor.result.>", func(*nats.Msg) { results <- struct{}{} }, nats.OrderedConsumer())
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection goes with it
	body := make([]byte, 200)
	sent, read := 0, 0
	for read < n {
		for sent < n && sent-read < flight {
			if _, err := js.PublishMsgAsync(expecting("floor.job."+strconv.Itoa(sent), body)); err != nil {
				return err
			}
			sent++
		}
		select {
		case <-results:
			read++
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// expecting is a message that is stored only as the first on its subject.
func expecting(subject string, body []byte) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = body
	m.Header.Set(nats.ExpectedLastSubjSeqHdr, "0")
	return m
}

// floorWork pulls jobs, batch at a time, and commits their results until ctx ends.
func floorWork(ctx context.Context, nc *nats.Conn, batch int) error {
	js, err := nc.JetStream(nats.PublishAsyncMaxPending(4 * floorFlight))
	if err != nil {
		return err
	}
	inbox := nc.NewInbox()
	jobs := make(chan *nats.Msg, 4*floorFlight) // what two pulls may deliver, and their endings
	sub, err := nc.ChanSubscribe(inbox, jobs)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection goes with it
	p := floorPull{nc: nc, inbox: inbox, batch: batch}
	if err := p.ask(batch); err != nil {
		return err
	}
	body := make([]byte, 200)
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-jobs:
			if err := p.heard(m); err != nil {
				return err
			}
			if m.Reply == "" {
				continue
			}
			if err := floorCommit(js, m, body); err != nil {
				return err
			}
		}
	}
}

// floorPull keeps a pull open: it asks for more when one is used up.
type floorPull struct {
	nc    *nats.Conn
	inbox string
	batch int
	had   int // of the last full pull
}

func (p *floorPull) ask(n int) error {
	request, err := json.Marshal(map[string]any{"batch": n, "expires": (30 * time.Second).Nanoseconds()})
	if err != nil {
		return err
	}
	return p.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+floorJobs+"."+floorWorker, p.inbox, request)
}

// heard counts a message: a job, or without a reply the end of a pull.
func (p *floorPull) heard(m *nats.Msg) error {
	if m.Reply != "" {
		p.had++
	}
	n := p.batch
	switch {
	case m.Reply == "":
		n -= p.had
	case p.had < p.batch:
		return nil
	}
	p.had = 0
	return p.ask(n)
}

func floorCommit(js nats.JetStreamContext, job *nats.Msg, body []byte) error {
	stored, err := js.PublishMsgAsync(expecting("floor.result."+job.Subject[len("floor.job."):], body))
	if err != nil {
		return err
	}
	go func() { // ends with the answer, or with the connection
		select {
		case <-stored.Ok():
			_ = job.Ack() // comes again, and is refused, if this is lost
		case err := <-stored.Err():
			fmt.Println("a result was not stored:", err)
		}
	}()
	return nil
}
