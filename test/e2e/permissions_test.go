package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/modpipe/modpipe/test/natstest"
)

// documented are the users that docs/nats.md shows.
func documented(t *testing.T) []*server.User {
	t.Helper()
	blocks := blocksOf(t, filepath.Join(root, "docs", "nats.md"), "conf")
	if len(blocks) != 1 {
		t.Fatalf("%d configurations", len(blocks))
	}
	opts, err := server.ProcessConfigFile(keep(t, "nats.conf", blocks[0]))
	if err != nil {
		t.Fatal(err)
	}
	return opts.Users
}

func known(t *testing.T, users []*server.User) *natstest.Server {
	t.Helper()
	return natstest.StartServer(t, func(o *server.Options) { o.Users = users })
}

// as is a place on the server for a user of it.
func (p *place) as(s *natstest.Server, user string) *place {
	q := *p
	q.url = withUser(s, user+":change-me")
	return &q
}

// busy uses everything that needs a permission of NATS: results above the inline limit, a
// key of the cluster, a family, output, a cancellation.
const busy = `
name: e2e
modules:
  large:
    outputs: [text, shards]
    run: |
      echo "text=$(head -c 600000 /dev/urandom | base64 -w0)" >>"$MODPIPE_OUTPUT"
      echo 'shards=["a","b"]' >>"$MODPIPE_OUTPUT"
  each: {needs: large, matrix: {shard: "${{ fromJSON(needs.large.outputs.shards) }}"}, run: 'echo $MODPIPE_MATRIX_SHARD'}
  keyed: {needs: each, not-in-parallel: [{key: db, scope: cluster}], run: 'echo in; read _ <"$D/gate"'}
  after: {needs: keyed, run: 'true'}
`

// TestDocumentedPermissionsSuffice runs an orchestrator and a worker with the permissions
// of the page. They use everything, and NATS denies nothing.
func TestDocumentedPermissionsSuffice(t *testing.T) {
	s := known(t, documented(t))
	p := newPlace(t, workers)
	orchestrator, worker := p.as(s, "orchestrator"), p.as(s, "worker")
	serve := orchestrator.serve(t, "one")
	serve.awaitText(t, "serving runs")
	w := worker.worker(t, "w1", "--max-parallel", "2")
	w.awaitText(t, "connected")
	dir := p.dir(t)
	gate := newGate(t, dir, "gate")
	orchestrator.detach(t, dir, busy, "--run-id", "r1")
	other := p.dir(t)
	newGate(t, other, "gate")
	orchestrator.detach(t, other, strings.Replace(busy, "key: db", "key: another", 1), "--run-id", "r2")
	var all []*program
	ask := func(want int, args ...string) *program {
		t.Helper()
		o := orchestrator.orchestrator(t, args...)
		if o.exit() != want {
			t.Errorf("%v: exit %d\n%s", args, o.exit(), o.stderrText())
		}
		all = append(all, o)
		return o
	}
	gate.open(t)
	ask(0, "runs", "wait", "r1")
	ask(0, "runs", "cancel", "r2")
	ask(1, "runs", "wait", "r2")
	ask(0, "runs", "list")
	ask(0, "runs", "show", "r1")
	if logs := ask(0, "runs", "logs", "r1").stdout.String(); !strings.Contains(logs, "in") {
		t.Errorf("logs: %q", logs)
	}
	ask(0, "workers", "list")
	if found := ask(0, "doctor").stdout.String(); !strings.Contains(found, "none is denied") {
		t.Errorf("doctor: %s", found)
	}
	ask(0, "workers", "drain", "w1")
	if code := w.wait(t); code != 0 {
		t.Errorf("worker: exit %d", code)
	}
	for _, p := range append(all, serve, w) {
		if said := p.stderrText(); strings.Contains(said, "denie") {
			t.Errorf("%s: %s", p.name, said)
		}
	}
}

// without is a user without one of its permissions.
func without(u *server.User, subject string) *server.User {
	drop := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == subject })
	}
	return &server.User{Username: u.Username, Password: u.Password, Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: drop(u.Permissions.Publish.Allow)},
		Subscribe: &server.SubjectPermission{Allow: drop(u.Permissions.Subscribe.Allow)},
	}}
}

// TestDoctorNamesMissingPermissions checks that doctor names each missing permission of
// the page.
func TestDoctorNamesMissingPermissions(t *testing.T) {
	for _, u := range documented(t) {
		for _, subject := range append(slices.Clone(u.Permissions.Publish.Allow), u.Permissions.Subscribe.Allow...) {
			t.Run(u.Username+"/"+subject, func(t *testing.T) {
				t.Parallel()
				p := newPlace(t, workers).as(known(t, []*server.User{without(u, subject)}), u.Username)
				found := p.orchestrator(t, "doctor", "-o", "json").stdout.String()
				fixed, _, _ := strings.Cut(subject, "*")
				fixed = strings.TrimSuffix(fixed, ">")
				if !strings.Contains(found, fixed) {
					t.Errorf("no word of %s in %s", fixed, found)
				}
			})
		}
	}
}
