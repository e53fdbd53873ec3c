package natsprobe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/internal/topology/streams"
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
	headerStream                        = "Nats-Expected-Stream"
	codeWrongStream    natsjs.ErrorCode = 10060
	trialTimeout                        = 3 * time.Second        // for one answer, as for every call
	trialAfterPing                      = 150 * time.Millisecond // until all denials have arrived
	trialDoesNotExist                   = "modpipe-doctor"
	trialNothingInside                  = `{"stream_name":"` + trialDoesNotExist + `"}`
)

// Trials tries the operations of an orchestrator and a worker under unused names.
// The server refuses the publishes for their headers, and the streams for their
// configuration. Only a consumer that reads nothing is really created, in memory,
// and deleted.
func (p *Probe) Trials(ctx context.Context) []Trial {
	t := &trials{c: p.c, scratch: trialDoesNotExist + "-" + ident.New(), buckets: p.buckets}
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
	c       *jetstream.Conn
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
		_, err := t.c.Ask(ctx, m)
		return err
	}})
}

func (t *trials) api(what, subject, body string) {
	t.ask(what, false, &nats.Msg{Subject: "$JS.API." + subject, Data: []byte(body)})
}

// store publishes a message that no stream stores.
func (t *trials) store(what string, worker bool, subject string) {
	m := &nats.Msg{Subject: subject}
	jetstream.SetHeader(m, headerStream, trialDoesNotExist)
	t.ask(what, worker, m)
}

// streams tries the operations on streams themselves.
func (t *trials) streams() {
	names := []string{streams.Jobs, streams.Runs, streams.Logs, "OBJ_" + streams.BlobsBucket}
	for _, name := range t.buckets {
		names = append(names, "KV_"+name)
	}
	for _, s := range names {
		t.api("read the state of "+s, "STREAM.INFO."+s, "")
		if s != streams.Jobs {
			t.api("read "+s, "CONSUMER.CREATE."+s+"."+t.scratch, trialNothingInside)
			t.api("stop reading "+s, "CONSUMER.DELETE."+s+"."+t.scratch, "")
			t.api("read one message of "+s, "STREAM.MSG.GET."+s, `{"last_by_subj":"`+t.scratch+`"}`)
		}
	}
	blobs := "OBJ_" + streams.BlobsBucket
	t.api("read a value of "+blobs+" by its subject", "DIRECT.GET."+blobs+".$O."+streams.BlobsBucket+".M."+t.scratch, "")
	t.api("remove jobs of a run", "STREAM.PURGE."+streams.Jobs, `{"filter":"`+topology.JobsOfRun(jobs.RunID(t.scratch))+`"}`)
	t.done = append(t.done, Trial{What: "read " + streams.Runs + ", with a real consumer", Subject: "$JS.API.CONSUMER.CREATE." + streams.Runs + ".*." + topology.Records(jobs.RunID(t.scratch))})
	t.asked = append(t.asked, asked{len(t.done) - 1, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, trialTimeout)
		defer cancel()
		if _, err := t.c.StreamInfoOnce(ctx, streams.Runs); err != nil {
			return nil // it is missing; the permission to see it is another trial
		}
		src := jetstream.Source{Stream: streams.Runs, Filters: []string{topology.Records(jobs.RunID(t.scratch))}}
		return t.c.ReadAll(ctx, src, func(jetstream.Message) error { return nil })
	}})
}

// MayCreate returns why the user may not create a stream or bucket, as Assets
// names it; nil when the user may.
func (p *Probe) MayCreate(ctx context.Context, asset string) error {
	if slices.Contains(p.buckets, asset) {
		asset = "KV_" + asset
	}
	_, err := p.c.APIOnce(ctx, "STREAM.CREATE."+asset, []byte(`{}`)) // refused for its missing name
	return allowed(err)
}

// publishes tries the writes.
func (t *trials) publishes() {
	run := jobs.RunID(t.scratch)
	id := jobs.AttemptID{Module: "m", Attempt: 1}
	t.store("publish a job", false, topology.Job(jobs.Lane(t.scratch), run, id))
	for _, part := range []string{"spec", "ctl", "cancel", "end"} {
		t.store("write to a run's log", false, topology.Run(run, part))
	}
	t.store("write the outcome of a module", false, topology.Cell(run, id.Module))
	t.store("write the output of a module", true, topology.Log(run, id))
	t.store("write to the object store", false, "$O."+streams.BlobsBucket+".C."+t.scratch)
	t.store("write to the object store", false, "$O."+streams.BlobsBucket+".M."+t.scratch)
	for _, name := range t.buckets {
		t.store("write to "+name, name == streams.Bucket("workers"), "$KV."+name+"."+t.scratch)
	}
}

// lanes tries the operations on the consumers of jobs.
func (t *trials) lanes() {
	lane := jobs.Lane(t.scratch)
	t.api("create a lane", "CONSUMER.CREATE."+streams.Jobs+"."+string(lane)+"."+topology.JobsOfLane(lane), trialNothingInside)
	t.ask("read how many jobs wait", true, &nats.Msg{Subject: "$JS.API.CONSUMER.INFO." + streams.Jobs + "." + string(lane)})
	t.ask("pull a job", true, &nats.Msg{Subject: topology.NextJobs(lane), Data: []byte(`{"batch":1,"no_wait":true}`)})
}

// silent adds the operations without an answer.
func (t *trials) silent() {
	lane := jobs.Lane(t.scratch)
	control, _ := jobs.Marshal(&jobs.Control{}) // empty
	add := func(what string, worker, subscribe bool, subject string, body []byte) {
		t.done = append(t.done, Trial{What: what, Subject: subject, Worker: worker})
		t.quiet = append(t.quiet, silent{len(t.done) - 1, subscribe, body})
	}
	add("send to a worker", false, false, topology.WorkerControl(t.scratch), control)
	add("slow a reader down", false, false, "$JS.FC."+streams.Runs+"."+t.scratch+".1", nil)
	add("acknowledge a job", true, false, "$JS.ACK."+streams.Jobs+"."+string(lane)+".1.1.1.1.0", nil)
	add("receive the bells of new jobs", true, true, topology.Bell(lane), nil)
	add("receive requests to drain and to cancel", true, true, topology.WorkerControl(t.scratch), nil)
}

// listen does the operations without an answer, and collects their denials.
func (t *trials) listen(ctx context.Context) {
	var mu sync.Mutex
	denied := make([]error, len(t.quiet))
	for i, q := range t.quiet {
		subject := t.done[q.at].Subject
		defer t.c.WatchDenials(func(s string, subscription bool) bool { return s == subject && subscription == q.subscribe }, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			denied[i] = err
		})()
		t.done[q.at].Err = t.sendOrSubscribe(subject, q)
	}
	_ = t.c.Ping(ctx) // denials arrive before the answer
	_ = pause.For(ctx, trialAfterPing)
	mu.Lock()
	defer mu.Unlock()
	for i, q := range t.quiet {
		if denied[i] != nil {
			t.done[q.at].Err = denied[i]
		}
	}
}

func (t *trials) sendOrSubscribe(subject string, q silent) error {
	if !q.subscribe {
		return t.c.Publish(&nats.Msg{Subject: subject, Data: q.body})
	}
	sub, err := t.c.Subscribe(subject, func(*nats.Msg) {})
	if err != nil {
		return err
	}
	return sub.Unsubscribe()
}

// allowed returns nil for every answer: the server answers only permitted
// requests.
func allowed(err error) error {
	var api *natsjs.APIError
	switch {
	case err == nil, errors.Is(err, jetstream.ErrNotReady), errors.Is(err, jetstream.ErrNotFound), errors.As(err, &api) && api.ErrorCode == codeWrongStream:
		return nil
	case errors.As(err, &api) && api.Code >= 400 && api.Code < 500:
		return nil
	case errors.Is(err, jetstream.ErrNoAnswer), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w within %v", jetstream.ErrNoAnswer, trialTimeout)
	}
	return err
}

// each calls f with the numbers below n, in parallel, and waits.
func each(n int, f func(int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}
