package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/jobs"
)

// Trial is an operation that was tried without leaving anything behind.
type Trial struct {
	What    string // description
	Subject string // that it publishes or subscribes to
	Worker  bool   // only workers need it
	Err     error  // nil = the server would have done it; ErrDenied
}

// headerStream keeps a stream from storing a publish: the server first compares it
// with the name of the stream.
const (
	headerStream                           = "Nats-Expected-Stream"
	codeWrongStream    jetstream.ErrorCode = 10060
	trialAfterFlush                        = 150 * time.Millisecond // until all denials have arrived
	trialDoesNotExist                      = "modpipe-doctor"
	trialNothingInside                     = `{"stream_name":"` + trialDoesNotExist + `"}`
)

// Trials tries the operations of an orchestrator and a worker under unused names.
// The server refuses the publishes for their headers, and the streams for their
// configuration. Only a consumer that reads nothing is really created, in memory,
// and deleted.
func (c *Conn) Trials(ctx context.Context, buckets ...string) []Trial {
	t := &trials{c: c, scratch: trialDoesNotExist + "-" + nuid.Next(), buckets: buckets}
	t.streams()
	t.publishes()
	t.lanes()
	t.silent()
	each(len(t.asked), func(i int) {
		t.done[t.asked[i].at].Err = allowed(t.asked[i].try(ctx))
	})
	t.listen(ctx)
	return t.done
}

// trials collects the operations to try.
type trials struct {
	c       *Conn
	scratch string // an unused name
	buckets []string
	done    []Trial
	asked   []asked  // operations with an answer
	quiet   []silent // operations without an answer, except for a denial
}

type asked struct {
	at  int
	try func(context.Context) error
}

type silent struct {
	at        int
	subscribe bool
	body      []byte
}

func (t *trials) ask(what string, worker bool, m *nats.Msg) {
	t.done = append(t.done, Trial{What: what, Subject: m.Subject, Worker: worker})
	t.asked = append(t.asked, asked{len(t.done) - 1, func(ctx context.Context) error {
		answer, err := t.c.calls.ask(ctx, m)
		if err != nil || len(answer.Data) == 0 || answer.Data[0] != '{' {
			return err // the status was the whole answer
		}
		return apiError(answer.Data)
	}})
}

func (t *trials) api(what, subject, body string) {
	t.ask(what, false, &nats.Msg{Subject: "$JS.API." + subject, Data: []byte(body)})
}

// store publishes a message that no stream stores.
func (t *trials) store(what string, worker bool, subject string) {
	m := &nats.Msg{Subject: subject}
	set(m, headerStream, trialDoesNotExist)
	t.ask(what, worker, m)
}

// streams: what is done to streams as such.
func (t *trials) streams() {
	n := t.c.names
	names := []string{n.jobsStream(), n.runsStream(), n.logsStream(), "OBJ_" + n.blobs()}
	for _, kind := range t.buckets {
		names = append(names, "KV_"+n.bucket(kind))
	}
	for _, s := range names {
		t.api("look at "+s, "STREAM.INFO."+s, "")
		if s != n.jobsStream() {
			t.api("read "+s, "CONSUMER.CREATE."+s+"."+t.scratch, trialNothingInside)
			t.api("stop reading "+s, "CONSUMER.DELETE."+s+"."+t.scratch, "")
			t.api("read one message of "+s, "STREAM.MSG.GET."+s, `{"last_by_subj":"`+t.scratch+`"}`)
		}
	}
	t.api("take jobs back", "STREAM.PURGE."+n.jobsStream(), `{"filter":"`+n.jobsOfRun(jobs.RunID(t.scratch))+`"}`)
	t.done = append(t.done, Trial{What: "read " + n.runsStream() + ", with a consumer that is really made", Subject: "$JS.API.CONSUMER.CREATE." + n.runsStream() + ".*." + n.runAll(jobs.RunID(t.scratch))})
	t.asked = append(t.asked, asked{len(t.done) - 1, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, tryTimeout)
		defer cancel()
		if _, err := t.c.streamInfoOnce(ctx, n.runsStream()); err != nil {
			return nil // it is missing; the permission to see it is another trial
		}
		src := source{stream: n.runsStream(), filters: []string{n.runAll(jobs.RunID(t.scratch))}}
		return t.c.readAll(ctx, src, func(located) error { return nil })
	}})
}

// MayCreate returns why the user may not create a stream or bucket, as Assets
// names it; nil when the user may.
func (c *Conn) MayCreate(ctx context.Context, asset string) error {
	if strings.HasPrefix(asset, c.names.bucket("")) {
		asset = "KV_" + asset
	}
	_, err := c.apiOnce(ctx, "STREAM.CREATE."+asset, []byte(`{}`)) // refused for its missing name
	return allowed(err)
}

// publishes: what is stored.
func (t *trials) publishes() {
	n, run := t.c.names, jobs.RunID(t.scratch)
	id := jobs.AttemptID{Module: "m", Attempt: 1}
	t.store("give out a job", false, n.job(jobs.Lane(t.scratch), run, id))
	for _, part := range []string{"spec", "ctl", "cancel", "end"} {
		t.store("write to a run's log", false, n.run(run, part))
	}
	t.store("write how a module ended", false, n.cell(run, id.Module))
	t.store("write the output of a module", true, n.log(run, id))
	t.store("write to the object store", false, "$O."+n.blobs()+".C."+t.scratch)
	t.store("write to the object store", false, "$O."+n.blobs()+".M."+t.scratch)
	for _, kind := range t.buckets {
		t.store("write to "+n.bucket(kind), kind == "workers", "$KV."+n.bucket(kind)+"."+t.scratch)
	}
}

// lanes: the consumers of jobs.
func (t *trials) lanes() {
	n, lane := t.c.names, jobs.Lane(t.scratch)
	t.api("make a lane", "CONSUMER.CREATE."+n.jobsStream()+"."+string(lane)+"."+n.jobsOf(lane), trialNothingInside)
	t.ask("look how many jobs wait", true, &nats.Msg{Subject: "$JS.API.CONSUMER.INFO." + n.jobsStream() + "." + string(lane)})
	t.ask("pull a job", true, &nats.Msg{Subject: n.next(lane), Data: []byte(`{"batch":1,"no_wait":true}`)})
}

// silent: operations without an answer.
func (t *trials) silent() {
	n, lane := t.c.names, jobs.Lane(t.scratch)
	control, _ := jobs.Marshal(&jobs.Control{}) // empty
	add := func(what string, worker, subscribe bool, subject string, body []byte) {
		t.done = append(t.done, Trial{What: what, Subject: subject, Worker: worker})
		t.quiet = append(t.quiet, silent{len(t.done) - 1, subscribe, body})
	}
	add("tell who runs something of a run", false, false, n.runControl(jobs.RunID(t.scratch)), control)
	add("tell a worker", false, false, n.workerControl(t.scratch), control)
	add("slow a reader down", false, false, "$JS.FC."+n.runsStream()+"."+t.scratch+".1", nil)
	add("acknowledge a job", true, false, "$JS.ACK."+n.jobsStream()+"."+string(lane)+".1.1.1.1.0", nil)
	add("hear of new jobs", true, true, n.bell(lane), nil)
	add("hear of cancellations", true, true, n.runControls(), nil)
	add("be told to drain", true, true, n.workerControl(t.scratch), nil)
}

// listen does the operations without an answer, and collects their denials.
func (t *trials) listen(ctx context.Context) {
	var mu sync.Mutex
	denied := make([]error, len(t.quiet))
	for i, q := range t.quiet {
		subject := t.done[q.at].Subject
		defer t.c.denied.watch(func(s string, subscription bool) bool { return s == subject && subscription == q.subscribe }, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			denied[i] = err
		})()
		t.done[q.at].Err = t.whisper(subject, q)
	}
	_ = t.c.nc.FlushWithContext(ctx) // denials arrive before the answer
	_ = pause.For(ctx, trialAfterFlush)
	mu.Lock()
	defer mu.Unlock()
	for i, q := range t.quiet {
		if denied[i] != nil {
			t.done[q.at].Err = denied[i]
		}
	}
}

func (t *trials) whisper(subject string, q silent) error {
	if !q.subscribe {
		return t.c.nc.Publish(subject, q.body)
	}
	sub, err := t.c.nc.Subscribe(subject, func(*nats.Msg) {})
	if err != nil {
		return err
	}
	return sub.Unsubscribe()
}

// allowed returns nil for every answer: the server answers only permitted
// requests.
func allowed(err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil, errors.Is(err, errNotReady), errors.Is(err, ErrNotFound), errorCode(err) == codeWrongStream:
		return nil
	case errors.As(err, &api) && api.Code >= 400 && api.Code < 500:
		return nil
	case errors.Is(err, errNoAnswer), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w within %v", errNoAnswer, tryTimeout)
	}
	return err
}

// each calls f with the numbers below n, all at once, and waits.
func each(n int, f func(int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}
