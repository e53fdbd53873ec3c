package orchestrator_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/roles"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/test/natstest"
)

// confined are the permissions of an orchestrator of untrusted runs: of the cache and
// of content it may write one namespace, and the large values of runs.
func confined(namespace string) *server.Permissions {
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			"mp.job.>", "mp.run.>", "mp.ctl.>",
			"$O.mp-blobs.*." + namespace + ".>", "$O.mp-blobs.*." + jobs.ValuesNamespace + ".>", "$KV.mp-cache." + namespace + ".>",
			"$KV.mp-lanes.>", "$KV.mp-leases.>", "$KV.mp-locks.>", "$KV.mp-stats.>", "$KV.mp-sweep.>",
			"$JS.API.STREAM.INFO.*", "$JS.API.STREAM.PURGE.MP_JOBS", "$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>",
			"$JS.API.CONSUMER.CREATE.>", "$JS.API.CONSUMER.DELETE.>", "$JS.FC.>",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>", "mp.ask.>"}},
	}
}

// confinedWorker are the permissions of a worker of untrusted runs: it reads and writes
// content of one namespace and of the large values of runs, and writes no cache.
func confinedWorker(namespace string) *server.Permissions {
	allowed := roles.Of(roles.Worker, roles.Options{Namespace: namespace, Lanes: []string{"any"}, Inbox: "_INBOX"})
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: allowed.Publish}, Subscribe: &server.SubjectPermission{Allow: allowed.Subscribe},
	}
}

// newContested returns a site, and the connection of an orchestrator of untrusted runs,
// which may write the namespace pr.
func newContested(t *testing.T) (*site, *broker.Conn) {
	t.Helper()
	n := natstest.StartServer(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "team", Password: "t"}, {Username: "pr", Password: "p", Permissions: confined("pr")}, {Username: "worker", Password: "p", Permissions: confinedWorker("pr")}}
		o.NoAuthUser = "team"
	})
	s := newSiteOn(t, n)
	s.worker("w1")
	c, err := broker.Connect(s.ctx, broker.Config{URL: n.URL(), Options: []nats.Option{nats.UserInfo("pr", "p")}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return s, c
}

// untrusted runs the pipeline building on the connection of the untrusted orchestrator.
func (s *site) untrusted(c *broker.Conn, id jobs.RunID, want string, from ...string) {
	s.t.Helper()
	s.submitCached(id, building, jobs.CachePolicy{Namespace: "main"}) // what the run asks for does not count
	cfg := s.caching(cached{})
	cfg.Namespace, cfg.From = "pr", from
	if _, err := orchestrator.Run(s.ctx, c, id, cfg); err != nil {
		s.t.Fatal(err)
	}
	rep, err := client.New(s.conn).Show(s.ctx, id)
	if err != nil {
		s.t.Fatal(err)
	}
	wantStatuses(s.t, rep, want)
}

func TestUntrustedRunsReadAndCannotPlantResults(t *testing.T) {
	t.Parallel()
	s, pr := newContested(t)
	s.input("1")
	wantStatuses(t, s.runCached("r1", building, cached{}), "build=succeeded use=succeeded")
	s.untrusted(pr, "r2", "build=cached use=succeeded", "main")
	s.input("2")
	s.untrusted(pr, "r3", "build=succeeded use=succeeded", "main")
	s.untrusted(pr, "r4", "build=cached use=succeeded")
	wantStatuses(t, s.runCached("r5", building, cached{}), "build=succeeded use=succeeded") // not that of r3

	theirs, err := kv.OpenCache(s.ctx, pr.Conn)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := theirs.List(s.ctx, "pr")
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	e := entries[0].CacheEntry
	value, err := jobs.Marshal(&e)
	if err != nil {
		t.Fatal(err)
	}
	s.denied("pr", "$KV.mp-cache.main."+strings.Repeat("b", 64), value)
	s.denied("pr", "$O.mp-blobs.M.main."+string(content.DigestOf([]byte("planted"))), []byte("{}"))
	s.denied("pr", "$O.mp-blobs.C.main."+string(content.DigestOf([]byte("planted")))+".65536.0", []byte("planted"))
}

// denied publishes as a user, and expects that NATS denies it.
func (s *site) denied(user, subject string, data []byte) {
	s.t.Helper()
	denied := make(chan error, 1)
	c, err := nats.Connect(s.nats.URL(), nats.UserInfo(user, "p"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	if err := c.Publish(subject, data); err != nil {
		s.t.Fatal(err)
	}
	select {
	case err := <-denied:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			s.t.Errorf("%s: %v", subject, err)
		}
	case <-s.ctx.Done():
		s.t.Errorf("%s: it is not denied", subject)
	}
}

// TestConfinedWorkerReachesOneNamespace: a worker of untrusted runs plants no result, not
// even in its own namespace, and neither writes nor reads content of another one.
func TestConfinedWorkerReachesOneNamespace(t *testing.T) {
	t.Parallel()
	s, _ := newContested(t)
	s.input("1")
	wantStatuses(t, s.runCached("r1", building, cached{}), "build=succeeded use=succeeded")
	ours := natstest.Must[content.Store](t)(s.conn.Files.In("main"))
	secret := natstest.Must[content.Digest](t)(ours.PutBytes(s.ctx, []byte("of main")))
	print := strings.Repeat("b", 64)
	for _, subject := range []string{
		"$KV.mp-cache.pr." + print, "$KV.mp-cache.pr." + print + ".flight", "$KV.mp-cache.pr." + print + ".tries", "$KV.mp-cache.main." + print,
		"$KV.mp-cache.pr.dirs." + print + "." + print,
		"$O.mp-blobs.M.main." + string(secret), "$O.mp-blobs.C.main." + string(secret) + ".7.0",
		"$JS.API.DIRECT.GET.OBJ_mp-blobs.$O.mp-blobs.M.main." + string(secret),
		"$JS.API.DIRECT.GET.OBJ_mp-blobs.$O.mp-blobs.C.main." + string(secret) + ".7.0",
		"$JS.API.DIRECT.GET.OBJ_mp-blobs", "$JS.API.STREAM.MSG.GET.OBJ_mp-blobs", "$JS.API.STREAM.PURGE.OBJ_mp-blobs", "$JS.API.STREAM.MSG.DELETE.OBJ_mp-blobs",
		"$JS.API.CONSUMER.CREATE.OBJ_mp-blobs.x", "$JS.API.STREAM.UPDATE.OBJ_mp-blobs",
	} {
		s.denied("worker", subject, []byte("{}"))
	}

	c, err := broker.Connect(s.ctx, broker.Config{URL: s.nats.URL(), Options: []nats.Option{nats.UserInfo("worker", "p")}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	theirs := natstest.Must[content.Store](t)(c.Files.In("pr"))
	mine, err := theirs.PutBytes(s.ctx, []byte("of pr"))
	if err != nil {
		t.Fatalf("it cannot write its own content: %v", err)
	}
	if data, err := theirs.Bytes(s.ctx, mine, 100); err != nil || string(data) != "of pr" {
		t.Errorf("it reads %q of its own, %v", data, err)
	}
	foreign := natstest.Must[content.Store](t)(c.Files.In("main"))
	if data, err := foreign.Bytes(s.ctx, secret, 100); err == nil {
		t.Errorf("it reads %q of main", data)
	}
}

// TestGarbageOfAnotherNamespaceIsNotUsed has content in pr that is not what its digest
// says: main stores its own, and a reader of pr is told.
func TestGarbageOfAnotherNamespaceIsNotUsed(t *testing.T) {
	t.Parallel()
	s, pr := newContested(t)
	theirs, err := pr.Files.In("pr")
	if err != nil {
		t.Fatal(err)
	}
	wanted := content.DigestOf([]byte("genuine"))
	if _, err := theirs.Send(s.ctx, content.Value{Digest: wanted, Size: 7, Unchecked: true}, strings.NewReader("garbage")); err != nil {
		t.Fatal(err)
	}
	ours, err := s.conn.Files.In("main")
	if err != nil {
		t.Fatal(err)
	}
	if have, err := ours.Have(s.ctx, []content.Digest{wanted}); err != nil || len(have) != 0 {
		t.Errorf("main is said to have %v, %v", have, err)
	}
	if _, err := ours.PutBytes(s.ctx, []byte("genuine")); err != nil {
		t.Fatal(err)
	}
	if data, err := ours.Bytes(s.ctx, wanted, 100); err != nil || string(data) != "genuine" {
		t.Errorf("main reads %q, %v", data, err)
	}
	if data, err := theirs.Bytes(s.ctx, wanted, 100); !errors.Is(err, content.ErrDamaged) {
		t.Errorf("pr reads %q, %v", data, err)
	}
}

// TestPoisonedEntryIsAMiss replaces the entry of a module by others that do not fit it.
func TestPoisonedEntryIsAMiss(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	s.input("1")
	s.runCached("r0", building, cached{})
	cache, err := kv.OpenCache(s.ctx, s.conn.Conn)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := cache.List(s.ctx, "main")
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	genuine := entries[0].CacheEntry
	digest := strings.Repeat("a", 64)
	raw := s.nats.Connect(t)
	for name, poison := range map[string]func(e *jobs.CacheEntry){
		"outputs of another module": func(e *jobs.CacheEntry) { e.Outputs = jobs.OutputsOf(map[string]string{"other": "x"}) },
		"an artifact it does not have": func(e *jobs.CacheEntry) {
			e.Artifacts = []jobs.Artifact{{Name: "bin", Tree: jobs.Tree{Root: digest, Manifest: digest, Namespace: "main"}}}
		},
		"a log that cannot exist": func(e *jobs.CacheEntry) { e.Log = jobs.Blob{SHA256: "../x", Bytes: 1} },
		"another place":           func(e *jobs.CacheEntry) { e.Place = "elsewhere:/" },
		"outputs that are gone": func(e *jobs.CacheEntry) {
			e.Outputs = jobs.Value{Kind: jobs.OutputsValue, Ref: jobs.Blob{SHA256: digest, Bytes: 100_000}}
		},
		"another fingerprint": func(e *jobs.CacheEntry) { e.Fingerprint = digest },
	} {
		e := genuine
		poison(&e)
		value, err := jobs.Marshal(&e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := raw.Request("$KV.mp-cache.main."+genuine.Fingerprint, value, time.Minute); err != nil {
			t.Fatal(err)
		}
		rep := s.runCached(jobs.RunID("r-"+strings.ReplaceAll(name, " ", "-")), building, cached{})
		if build := rep.Modules[0]; build.Cached != nil || build.Outputs["version"] != "1" {
			t.Errorf("%s: %+v", name, build)
		}
	}
}
