package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const aModule = `
name: e2e
modules:
  x: {run: 'true'}
`

// untilKilled has a module that prints its process id and runs until it is killed.
const untilKilled = `
name: e2e
modules:
  x: {run: 'echo "pid $$"; exec sleep 600'}
`

// losses are the ways in which a server loses data that connected programs have read.
var losses = map[string]func(t *testing.T, s *natsServer){
	"restart on an empty store": func(t *testing.T, s *natsServer) {
		s.kill(t)
		if err := os.RemoveAll(s.store); err != nil {
			t.Fatal(err)
		}
		s.start(t)
	},
	"streams and buckets deleted": func(t *testing.T, s *natsServer) {
		deleteStreams(t, s, "MP_RUNS", "MP_JOBS", "KV_mp-lanes", "KV_mp-leases", "KV_mp-locks")
	},
}

// deleteStreams deletes streams as an administrator does; those that are
// missing do not matter.
func deleteStreams(t *testing.T, s *natsServer, names ...string) {
	t.Helper()
	nc, err := nats.Connect("nats://" + s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, name := range names {
		if err := js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Fatal(err)
		}
	}
}

// TestServeAndWorkerReceiveNewWorkAfterALoss: neither is started again.
func TestServeAndWorkerReceiveNewWorkAfterALoss(t *testing.T) {
	for name, lose := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, workers)
			s := p.server(t)
			p.worker(t, "w")
			p.serve(t, "serving")
			dir := p.dir(t)
			for _, id := range []string{"old1", "old2", "old3", "old4"} {
				p.detach(t, dir, aModule, "--run-id", id)
				p.orchestrator(t, "runs", "wait", id)
			}
			lose(t, s)
			for _, id := range []string{"new1", "new2"} {
				p.detach(t, dir, aModule, "--run-id", id)
				if waited := p.orchestrator(t, "runs", "wait", id, "--timeout", patience.String()); waited.exit() != 0 {
					t.Errorf("wait for %s: exit %d: %s", id, waited.exit(), waited.stderrText())
				}
			}
			if found := p.orchestrator(t, "doctor"); strings.Contains(found.stdout.String(), "fault    ") {
				t.Errorf("doctor, after the recovery:\n%s", found.stdout.String())
			}
		})
	}
}

// TestARunWhoseLogIsGoneEnds checks a run with its own orchestrator, its followers, and
// the modules that a worker executes for it.
func TestARunWhoseLogIsGoneEnds(t *testing.T) {
	for name, lose := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, workers)
			s := p.server(t)
			p.worker(t, "w")
			r := p.start(t, untilKilled, "--run-id", "r1")
			pid := r.awaitNumber(t, "x", "pid")
			wait := start(t, p.workspace, p.env(), binaries.orchestrator, "runs", "wait", "r1", "--progress", "json", "--server", p.url)
			logs := start(t, p.workspace, p.env(), binaries.orchestrator, "runs", "logs", "r1", "--follow", "--server", p.url)
			wait.awaitNumber(t, "x", "pid")
			awaitOutput(t, logs, "pid ")
			lose(t, s)
			for _, follower := range []*program{r.program, wait, logs} {
				if code := follower.wait(t); code != 3 {
					t.Errorf("%s: exit %d", follower.name, code)
				}
				for _, word := range []string{"run r1", "gone", "MP_RUNS", p.url} {
					if !strings.Contains(follower.stderrText(), word) {
						t.Errorf("%s does not say %q: %s", follower.name, word, follower.stderrText())
					}
				}
			}
			gone(t, pid)
		})
	}
}

// awaitOutput waits until a program has printed text on its standard output.
func awaitOutput(t *testing.T, p *program, text string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		p.mu.Lock()
		found := strings.Contains(p.stdout.String(), text)
		p.mu.Unlock()
		if found {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
	t.Fatalf("%s does not print %q", p.name, text)
}

// TestAnEmbeddedServerWhoseStoreIsRemovedEnds checks that dev, serve and run report the
// loss and end. They do not wait for room on a removed disk.
func TestAnEmbeddedServerWhoseStoreIsRemovedEnds(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T, p *place, store string) *program{
		"dev": func(t *testing.T, p *place, store string) *program {
			dev := start(t, p.workspace, p.env(), binaries.orchestrator, "dev", "--store", store, "--listen", freeAddress(t))
			dev.awaitText(t, "serving runs")
			return dev
		},
		"serve": func(t *testing.T, p *place, store string) *program {
			serve := start(t, p.workspace, p.env(), binaries.orchestrator, "serve", "--store", store, "--listen", freeAddress(t))
			serve.awaitText(t, "serving runs")
			return serve
		},
		"run": func(t *testing.T, p *place, store string) *program {
			r := p.start(t, untilKilled, "--store", store)
			r.awaitNumber(t, "x", "pid")
			return r.program
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, standalone)
			store := filepath.Join(p.home, "store")
			program := begin(t, p, store)
			for t.Context().Err() == nil && os.RemoveAll(store) != nil { // again: the server adds files
			}
			if code := program.wait(t); code != 3 {
				t.Errorf("exit %d", code)
			}
			if said := program.stderrText(); !strings.Contains(said, "the store was removed") || !strings.Contains(said, store) {
				t.Errorf("it says %s", said)
			}
		})
	}
}
