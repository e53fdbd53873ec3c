package broker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

// guarded is a server with one user. A test changes the user's password and
// permissions while programs are connected.
type guarded struct{ *natstest.Server }

func guard(t *testing.T) (*guarded, broker.Config, *natstest.Log) {
	t.Helper()
	g := &guarded{natstest.StartServer(t, func(o *server.Options) { o.Users = user("right", nil) })}
	said := natstest.NewLog()
	return g, broker.Config{
		URL: g.URL(), Options: []nats.Option{nats.UserInfo("bob", "right")}, ConnectTimeout: natstest.Patience, Memory: true, Logger: said.Logger(),
	}, said
}

// connectGuarded is guard with a connection that may do everything.
func connectGuarded(t *testing.T) (*guarded, *broker.Conn, *natstest.Log) {
	t.Helper()
	g, cfg, said := guard(t)
	c := natstest.Must[*broker.Conn](t)(broker.Connect(natstest.Within(t), cfg))
	t.Cleanup(c.Close)
	return g, c, said
}

func user(password string, may *server.Permissions) []*server.User {
	return []*server.User{{Username: "bob", Password: password, Permissions: may}}
}

func (g *guarded) set(t *testing.T, password string, may *server.Permissions) {
	t.Helper()
	g.Reload(t, func(o *server.Options) { o.Users = user(password, may) })
}

func denying(publish, subscribe string) *server.Permissions {
	p := &server.Permissions{}
	if publish != "" {
		p.Publish = &server.SubjectPermission{Deny: []string{publish}}
	}
	if subscribe != "" {
		p.Subscribe = &server.SubjectPermission{Deny: []string{subscribe}}
	}
	return p
}

// restoreOn restores the permissions when the log reports a wait.
func (g *guarded) restoreOn(t *testing.T, said *natstest.Log, text string) {
	t.Helper()
	said.Await(t, text)
	g.set(t, "right", nil)
}

func TestProgramWaitsForAWithdrawnPermission(t *testing.T) {
	t.Parallel()
	for name, may := range map[string]*server.Permissions{
		"to publish":               denying("mp.run.>", ""),
		"to publish anything":      denying(">", ""),
		"to receive answers":       denying("", "_INBOX.>"),
		"to subscribe to anything": denying("", ">"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, c, said := connectGuarded(t)
			ctx := natstest.Within(t)
			seq := natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "m", 0, claim()))
			g.set(t, "right", may)
			written := make(chan error, 1)
			go func() {
				_, err := c.Runs.Append(ctx, "r", "m", seq, claim())
				written <- err
			}()
			g.restoreOn(t, said, "waiting for it")
			if err := <-written; err != nil && !errors.Is(err, broker.ErrConflict) { // an unanswered write may have arrived
				t.Errorf("%v", err)
			}
		})
	}
}

func TestReaderOutlivesAWithdrawnPermission(t *testing.T) {
	t.Parallel()
	g, c, said := connectGuarded(t)
	ctx := natstest.Within(t)
	seq := natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "m", 0, claim()))
	out := make(chan jobs.Entry, 16)
	natstest.Background(t, func(ctx context.Context) error { return c.Runs.Follow(ctx, "r", 0, out) })
	natstest.Receive(t, ctx, out)
	g.set(t, "right", denying("", "_INBOX.>"))
	g.restoreOn(t, said, "waiting for it")
	second := natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "m", seq, claim()))
	for e := natstest.Receive(t, ctx, out); e.Sequence != second; e = natstest.Receive(t, ctx, out) {
		if e.Sequence > second {
			t.Fatalf("sequence %d is missing", second)
		}
	}
}

func TestControlsQuestionsAndBellsOutliveAWithdrawnPermission(t *testing.T) {
	t.Parallel()
	g, c, said := connectGuarded(t)
	ctx := natstest.Within(t)
	natstest.Check(t, c.Queue.EnsureLane(ctx, "any"))
	delivered := pull(t, c, "any", 4)
	received := make(chan struct{}, 256)
	natstest.Background(t, func(ctx context.Context) error {
		return c.Control.Receive(ctx, "w", func(*broker.Received) { received <- struct{}{} })
	})
	asked := make(chan struct{}, 256)
	natstest.Background(t, func(ctx context.Context) error {
		return c.Control.Questions(ctx, "r", func(*jobs.Question, func(signing.Key) bool) { asked <- struct{}{} })
	})
	publish(t, ctx, c, job("m"))
	natstest.Check(t, natstest.Receive(t, ctx, delivered).Ack())
	g.set(t, "right", denying("$JS.API.CONSUMER.MSG.NEXT.>", "mp.>"))
	said.Await(t, "MSG.NEXT")
	said.Await(t, "mp.ctl.") // of the run or the worker: the server denies them in any order, and one is reported
	said.Await(t, "mp.ask.r")
	g.set(t, "right", nil)
	publish(t, ctx, c, job("n"))
	natstest.Receive(t, ctx, delivered)
	tick := time.NewTicker(5 * time.Millisecond) // both are lossy: repeated until they arrive
	defer tick.Stop()
	for control, question := received, asked; control != nil || question != nil; {
		natstest.Check(t, c.Control.SendWorker("w", nil, jobs.Control{Drain: &jobs.Drain{By: "me"}}))
		natstest.Check(t, c.Control.Ask("r", &jobs.Question{Worker: "w"}))
		select {
		case <-control:
			control = nil
		case <-question:
			question = nil
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("no control, or no question, arrives again")
		}
	}
}

// TestRunContinuesWithoutThePermissionToReceiveQuestions: questions are rare, and
// permissions for an earlier version do not include their subject.
func TestRunContinuesWithoutThePermissionToReceiveQuestions(t *testing.T) {
	t.Parallel()
	g, cfg, said := guard(t)
	g.set(t, "right", denying("", "mp.ask.>"))
	c := natstest.Must[*broker.Conn](t)(broker.Connect(natstest.Within(t), cfg))
	defer c.Close()
	natstest.Background(t, func(ctx context.Context) error {
		return c.Control.Questions(ctx, "r", func(*jobs.Question, func(signing.Key) bool) {})
	})
	said.Await(t, "may not receive the questions of workers")
}

func TestProgramWaitsForRefusedCredentialsAfterTheFirstConnection(t *testing.T) {
	t.Parallel()
	g, c, said := connectGuarded(t)
	ctx := natstest.Within(t)
	g.set(t, "another", nil)
	said.Await(t, "NATS does not accept these credentials")
	g.restoreOn(t, said, "no connection to NATS; trying again")
	natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "m", 0, claim()))
	if text := said.Text(); strings.Contains(text, "right") || strings.Contains(text, "permission") {
		t.Errorf("the log is\n%s", text)
	}
}
