package trust

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/internal/roles"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/test/natstest"
)

// The users of the server.
const (
	boss   = "orchestrator"
	ci     = "worker-ci"   // of the group ci, with the lane any
	prod   = "worker-prod" // of the group prod, with the lane tag_prod
	giver  = "submitter"
	secret = "x"
)

func users() []roles.User {
	return []roles.User{
		roles.NewUser(roles.Orchestrator, roles.Options{}),
		roles.NewUser(roles.Worker, roles.Options{Group: "ci", Lanes: []string{"any"}}),
		roles.NewUser(roles.Worker, roles.Options{Group: "prod", Lanes: []string{"tag_prod"}}),
		roles.NewUser(roles.Submitter, roles.Options{}),
	}
}

// site is a server with the printed configuration, and everything that an orchestrator
// creates there.
type site struct {
	*server.Server
	conns map[string]*nats.Conn
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	_, _, err := (&store.Dir{Path: dir}).Certificate()
	natstest.Check(t, err)
	var conf bytes.Buffer
	natstest.Check(t, roles.WriteServer(&conf, users()))
	text := conf.String()
	for printed, here := range map[string]string{
		"0.0.0.0:4222": "127.0.0.1:-1", "server-cert.pem": filepath.Join(dir, "certificate.pem"), "server-key.pem": filepath.Join(dir, "certificate.pem"),
		`store_dir: "jetstream"`: fmt.Sprintf("store_dir: %q", filepath.Join(dir, "jetstream")),
	} {
		if !strings.Contains(text, printed) {
			t.Fatalf("the configuration has no %s", printed)
		}
		text = strings.ReplaceAll(text, printed, here)
	}
	for _, u := range users() {
		t.Setenv("MODPIPE_"+strings.ToUpper(strings.ReplaceAll(u.Name, "-", "_"))+"_PASSWORD", secret)
	}
	file := filepath.Join(dir, "nats.conf")
	natstest.Check(t, os.WriteFile(file, []byte(text), 0o600))
	opts := natstest.Must[*server.Options](t)(server.ProcessConfigFile(file))
	opts.NoSigs = true
	s := &site{natstest.Must[*server.Server](t)(server.NewServer(opts)), map[string]*nats.Conn{}}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	for _, u := range users() {
		s.conns[u.Name] = natstest.Must[*nats.Conn](t)(nats.Connect(s.ClientURL(), append(s.options(u.Name), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...))
		t.Cleanup(s.conns[u.Name].Close)
	}
	c := s.broker(t, boss)
	ctx := natstest.Within(t)
	natstest.Check(t, kv.Create(ctx, c.Conn, time.Minute))
	for _, lane := range []jobs.Lane{"any", "tag_prod"} {
		natstest.Check(t, c.Queue.EnsureLane(ctx, lane))
	}
	return s
}

func (s *site) options(user string) []nats.Option {
	return []nats.Option{
		nats.UserInfo(user, secret), nats.CustomInboxPrefix(ident.Inbox(user)),
		nats.Secure(&tls.Config{InsecureSkipVerify: true}), //nolint:gosec // the certificate of this test
	}
}

func (s *site) broker(t *testing.T, user string) *broker.Conn {
	t.Helper()
	c := natstest.Must[*broker.Conn](t)(broker.Connect(natstest.Within(t), broker.Config{
		URL: s.ClientURL(), Options: s.options(user), Inbox: ident.Inbox(user), ConnectTimeout: time.Minute, Logger: natstest.Quiet(), Joins: user != boss,
	}))
	t.Cleanup(c.Close)
	return c
}

// denied reports whether NATS denies a user a publication or a subscription.
func (s *site) denied(t *testing.T, user, subject string, subscribe bool) bool {
	t.Helper()
	nc := s.conns[user]
	kind := "Publish to "
	if subscribe {
		kind = "Subscription to "
		sub := natstest.Must[*nats.Subscription](t)(nc.SubscribeSync(subject))
		defer func() { _ = sub.Unsubscribe() }()
	} else {
		natstest.Check(t, nc.Publish(subject, nil))
	}
	natstest.Check(t, nc.FlushTimeout(time.Minute)) // a denial arrives before its answer
	err := nc.LastError()
	return err != nil && strings.Contains(err.Error(), fmt.Sprintf("%s%q", kind, subject))
}

// row is a subject, and the users that may use it.
type row struct {
	subject   string
	allowed   []string
	subscribe bool
}

func publish(subject string, allowed ...string) row { return row{subject, allowed, false} }

func subscribe(subject string, allowed ...string) row { return row{subject, allowed, true} }

// subjects are those of the topology.
func subjects() []row {
	id := jobs.AttemptID{Module: "m", Attempt: 1}
	rows := []row{
		publish(topology.Job("any", "r", id), boss), publish("mp.bell.any.r.m.1", boss),
		publish(topology.Run("r", topology.Spec), boss, giver), publish(topology.Run("r", topology.Cancel), boss, giver),
		publish(topology.Run("r", topology.Control), boss), publish(topology.Run("r", topology.End), boss),
		publish(topology.Cell("r", "m"), boss, ci, prod), publish(topology.Log("r", id), boss, ci, prod),
		publish(topology.WorkerControl("ci.one"), boss), publish(topology.WorkerSecret("ci.one"), boss),
		publish(topology.Question("r", "ci.one"), boss, ci), publish(topology.Question("r", "prod.one"), boss, prod),
		publish("$KV.mp-workers.ci.one", boss, ci), publish("$KV.mp-workers.prod.one", boss, prod), publish("$KV.mp-workers.default.one", boss),
		publish("$JS.ACK.MP_JOBS.any.1.1.1.1.0", boss, ci), publish("$JS.ACK.MP_JOBS.tag_prod.1.1.1.1.0", boss, prod),
		publish("$JS.FC.MP_RUNS.x.y", boss), publish("_INBOX_" + boss + ".x"), publish("_INBOX.x"), publish("other.subject"),

		subscribe(topology.Bell("any"), boss, ci), subscribe(topology.Bell("tag_prod"), boss, prod), subscribe("mp.bell.>"),
		subscribe(topology.WorkerControl("ci.one"), boss, ci), subscribe(topology.WorkerControl("prod.one"), boss, prod),
		subscribe(topology.WorkerSecret("ci.one"), boss, ci), subscribe(topology.WorkerSecret("prod.one"), boss, prod),
		subscribe(topology.Questions("r"), boss), subscribe("$KV.mp-lanes.>", boss, ci, prod), subscribe("$KV.mp-workers.>"),
		subscribe("mp.job.>"), subscribe("mp.run.>"), subscribe("mp.log.>"), subscribe("$JS.API.>"), subscribe("$O.mp-blobs.>"), subscribe(">"), subscribe("_INBOX.>"),
	}
	for _, user := range []string{boss, ci, prod, giver} {
		rows = append(rows, subscribe("_INBOX_"+user+".>", user))
	}
	for _, bucket := range []string{"lanes", "leases", "locks", "stats", "cache", "sweep"} {
		rows = append(rows, publish("$KV.mp-"+bucket+".k", boss))
	}
	for namespace, allowed := range map[string][]string{
		"_runs": {boss, ci, prod}, "main": {boss, ci, prod, giver}, "pr": {boss}, topology.SpecBodies: {boss, giver}, topology.JobBodies("any"): {boss},
	} {
		rows = append(rows, publish("$O.mp-blobs.M."+namespace+".d", allowed...), publish("$O.mp-blobs.C."+namespace+".d.1.1", allowed...))
	}
	return rows
}

// calls are those of the JetStream API.
func calls() (rows []row) {
	api := func(call string, allowed ...string) { rows = append(rows, publish("$JS.API."+call, allowed...)) }
	workers := []string{"MP_JOBS", "MP_RUNS", "MP_LOGS", "OBJ_mp-blobs", "KV_mp-workers", "KV_mp-lanes"}
	for _, s := range streams.All() {
		info := []string{boss, giver}
		if slices.Contains(workers, s.Name) {
			info = append(info, ci, prod)
		}
		api("STREAM.INFO."+s.Name, info...)
		for _, call := range []string{"CREATE", "UPDATE", "MSG.GET", "PURGE"} {
			api("STREAM."+call+"."+s.Name, boss)
		}
		for _, call := range []string{"DELETE", "MSG.DELETE", "SNAPSHOT", "RESTORE", "LEADER.STEPDOWN", "PEER.REMOVE"} {
			api("STREAM." + call + "." + s.Name)
		}
		for _, call := range []string{"CREATE." + s.Name + ".x", "CREATE." + s.Name + ".x." + s.Subjects[0], "INFO." + s.Name + ".x", "DELETE." + s.Name + ".x"} {
			api("CONSUMER."+call, boss)
		}
		api("CONSUMER.DURABLE.CREATE." + s.Name + ".x")
		api("CONSUMER.LIST."+s.Name, boss)
		api("CONSUMER.NAMES." + s.Name)
		api("DIRECT.GET." + s.Name) // by sequence, or many
	}
	for lane, who := range map[string]string{"any": ci, "tag_prod": prod} {
		api("CONSUMER.MSG.NEXT.MP_JOBS."+lane, boss, who)
		api("CONSUMER.INFO.MP_JOBS."+lane, boss, who)
		api("DIRECT.GET.OBJ_mp-blobs.$O.mp-blobs.M."+topology.JobBodies(jobs.Lane(lane))+".d", boss, who)
	}
	get := func(stream, subject string, allowed ...string) { api("DIRECT.GET."+stream+"."+subject, allowed...) }
	get("MP_JOBS", "mp.job.any.r.m.1", boss)
	get("MP_RUNS", topology.Run("r", topology.Spec), boss, giver)
	get("MP_RUNS", topology.Run("r", topology.Control), boss, giver)
	get("MP_RUNS", topology.Cell("r", "m"), boss, ci, prod, giver)
	get("MP_RUNS", "mp.run.*.*", boss, giver)
	get("MP_LOGS", "mp.log.r.m.1", boss)
	get("KV_mp-workers", "$KV.mp-workers.ci.one", boss, ci)
	get("KV_mp-workers", "$KV.mp-workers.prod.one", boss, prod)
	get("KV_mp-lanes", "$KV.mp-lanes.any", boss, ci, prod)
	get("KV_mp-leases", "$KV.mp-leases.r", boss, giver)
	get("KV_mp-cache", "$KV.mp-cache.k", boss)
	get("OBJ_mp-blobs", "$O.mp-blobs.M._runs.d", boss, ci, prod, giver)
	get("OBJ_mp-blobs", "$O.mp-blobs.M."+topology.SpecBodies+".d", boss, giver)
	get("OBJ_mp-blobs", "$O.mp-blobs.M.*.*", boss) // the newest of all: a wildcard is taken literally by permissions
	for _, call := range []string{"STREAM.NAMES", "STREAM.LIST", "STREAM.CREATE.EVIL", "STREAM.INFO.EVIL", "META.LEADER.STEPDOWN", "ACCOUNT.PURGE.A"} {
		api(call)
	}
	api("INFO", boss)
	return rows
}

// TestPrintedRoles tries every subject and every call of the topology as every user.
func TestPrintedRoles(t *testing.T) {
	s := newSite(t)
	for _, r := range slices.Concat(subjects(), calls()) {
		for user := range s.conns {
			if got, want := s.denied(t, user, r.subject, r.subscribe), !slices.Contains(r.allowed, user); got != want {
				t.Errorf("%s, subscription %v to %s: denied %v", user, r.subscribe, r.subject, got)
			}
		}
	}
}
