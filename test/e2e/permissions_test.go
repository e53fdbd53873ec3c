package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/modpipe/modpipe/test/natstest"
)

// printed are users with the roles that `auth print` prints.
func printed(t *testing.T) (users []*server.User) {
	t.Helper()
	p := newPlace(t, workers)
	for _, role := range []string{"orchestrator", "worker", "submitter"} {
		var u struct {
			User        string
			Permissions struct{ Publish, Subscribe []string }
		}
		text := p.orchestrator(t, "auth", "print", "--role", role, "--format", "json").stdout.String()
		if err := json.Unmarshal([]byte(text), &u); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		users = append(users, &server.User{Username: u.User, Password: "change-me", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: u.Permissions.Publish}, Subscribe: &server.SubjectPermission{Allow: u.Permissions.Subscribe},
		}})
	}
	return users
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

// TestPrintedRolesSuffice runs an orchestrator, a worker and a submitter with their roles.
// They use everything, and NATS denies nothing.
func TestPrintedRolesSuffice(t *testing.T) {
	s := known(t, printed(t))
	p := newPlace(t, workers)
	orchestrator, worker, submitter := p.as(s, "orchestrator"), p.as(s, "worker"), p.as(s, "submitter")
	serve := orchestrator.serve(t, "one")
	serve.awaitText(t, "serving runs")
	w := worker.worker(t, "w1", "--max-parallel", "2")
	w.awaitText(t, "connected")
	dir := p.dir(t)
	gate := newGate(t, dir, "gate")
	submitter.detach(t, dir, busy, "--run-id", "r1")
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

// TestDoctorComparesWithARole checks that doctor names a permission that a user lacks, and
// one that is too many.
func TestDoctorComparesWithARole(t *testing.T) {
	for _, u := range printed(t) {
		t.Run(u.Username, func(t *testing.T) {
			t.Parallel()
			missing := u.Permissions.Publish.Allow[len(u.Permissions.Publish.Allow)-1]
			changed := without(u, missing)
			changed.Permissions.Publish.Allow = append(changed.Permissions.Publish.Allow, "$JS.API.STREAM.DELETE.MP_RUNS")
			p := newPlace(t, workers).as(known(t, []*server.User{changed}), u.Username)
			o := p.orchestrator(t, "doctor", "--as", u.Username)
			found := o.stdout.String()
			fixed, _, _ := strings.Cut(missing, "*")
			if fixed = strings.TrimSuffix(fixed, ">"); o.exit() != 3 || !strings.Contains(found, fixed) {
				t.Errorf("exit %d, no word of %s in %s", o.exit(), fixed, found)
			}
			if u.Username != "orchestrator" && !strings.Contains(found, "publish to $JS.API.STREAM.DELETE.MP_RUNS") {
				t.Errorf("not excessive: %s", found)
			}
			q := newPlace(t, workers).as(known(t, []*server.User{u}), u.Username)
			if o := q.orchestrator(t, "doctor", "--as", u.Username); o.exit() != 0 || !strings.Contains(o.stdout.String(), "has the permissions of the role") {
				t.Errorf("exit %d: %s", o.exit(), o.stdout.String())
			}
		})
	}
}
