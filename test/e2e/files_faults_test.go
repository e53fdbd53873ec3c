package e2e

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/test/faultproxy"
)

// large has a module that leaves a file of 12 MB that cannot be compressed, and one that
// checks it. The tags say who makes it and who reads it.
const large = `
name: e2e
defaults: {max-losses: 100}
modules:
  make:
    requires: {tags: [MAKES]}
    outputs: [sum]
    artifacts: {produce: {big: [big, "small/*"]}}
    run: |
      ulimit -S -f unlimited
      echo "on $MODPIPE_WORKER"
      head -c 12000000 /dev/urandom >big; mkdir small; for i in 1 2 3; do echo $i >small/$i; done
      printf sum= >>"$MODPIPE_OUTPUT"; sha256sum <big >>"$MODPIPE_OUTPUT"; echo made
  use:
    needs: [make]
    requires: {tags: [READS]}
    artifacts: {consume: [big]}
    env: {SUM: "${{ needs.make.outputs.sum }}"}
    run: test "$(sha256sum <big)" = "$SUM" && test "$(cat small/*)" = "$(printf '1\n2\n3')"
`

func largeFrom(makes, reads string) string {
	return strings.NewReplacer("MAKES", makes, "READS", reads).Replace(large)
}

// isRunning waits until a module of a run is running.
func (p *place) isRunning(t *testing.T, run, module string) {
	t.Helper()
	for t.Context().Err() == nil {
		var report struct {
			Modules []struct{ Name, Status string }
		}
		_ = json.Unmarshal(p.orchestrator(t, "runs", "show", run, "-o", "json").stdout.Bytes(), &report) // once it is there
		for _, m := range report.Modules {
			if m.Name == module && m.Status == "running" {
				return
			}
		}
	}
}

// slowly is so slow that a large file is on its way when the test breaks something.
var slowly = faultproxy.Fault{Rate: 500_000}

// TestFilesSurviveFaults breaks links, workers and stores while a large file travels. Its
// parts share a server; each has workers of its own.
func TestFilesSurviveFaults(t *testing.T) {
	t.Parallel()
	p := newPlace(t, workers)
	p.scratch = t.TempDir()
	server := p.server(t)
	x := newProxy(t, server.addr)
	p.apart(t, "near", "--tags", "near")
	p.cutLink(t, x)
	p.killedWhileItFetches(t, x)
	p.killedWhileItStores(t, x)
	p.withoutRoom(t)
	p.damagedOnTheMachine(t)
}

// cutLink cuts the link of a worker in the middle of the file.
func (p *place) cutLink(t *testing.T, x *proxy) {
	t.Helper()
	p.apartAt(t, x.url, "cut", "--tags", "cut")
	x.Set(slowly)
	r := p.start(t, largeFrom("near", "cut"), "--run-id", "cut")
	p.isRunning(t, "cut", "use")
	x.Reset()
	p.isRunning(t, "cut", "use")
	x.Reset()
	x.Set(faultproxy.Fault{})
	wantOneAttempt(t, r.result(t), "make", "use")
}

// killedWhileItFetches kills a worker in the middle of the file. The next attempt succeeds
// elsewhere. Then the worker starts again with what it had, and uses nothing of it that
// is not complete.
func (p *place) killedWhileItFetches(t *testing.T, x *proxy) {
	t.Helper()
	w := p.apartAt(t, x.url, "fetches", "--tags", "fetches")
	x.Set(slowly)
	r := p.start(t, largeFrom("near", "fetches"), "--run-id", "fetches")
	p.isRunning(t, "fetches", "use")
	w.kill(t)
	x.Set(faultproxy.Fault{})
	second := p.apart(t, "fetches-2", "--tags", "fetches")
	res := r.result(t)
	res.want(t, 0, all(succeeded, "make", "use"))
	if got := res.Report.module(t, "use").attempts(); got != "lost, succeeded" {
		t.Errorf("attempts: %s", got)
	}
	second.kill(t)
	p.apart(t, "fetches", "--tags", "fetches")
	if again := p.retried(t, "fetches", "use"); again.Report.module(t, "use").Attempts[0].Worker != "fetches" {
		t.Errorf("the attempts of the repeated run: %+v", again.Report.module(t, "use").Attempts)
	}
}

// killedWhileItStores kills a worker that stores the file. The next attempt makes it
// elsewhere, and that file is used.
func (p *place) killedWhileItStores(t *testing.T, x *proxy) {
	t.Helper()
	w := p.apartAt(t, x.url, "stores", "--tags", "stores")
	x.Set(slowly)
	r := p.start(t, largeFrom("stores", "near"))
	r.await(t, event{Event: "module.output", Module: "make", Text: "made"})
	w.kill(t)
	x.Set(faultproxy.Fault{})
	p.apart(t, "stores-2", "--tags", "stores")
	res := r.result(t)
	res.want(t, 0, all(succeeded, "make", "use"))
	if got := res.Report.module(t, "make").attempts(); got != "lost, succeeded" {
		t.Errorf("attempts: %s", got)
	}
}

// withoutRoom runs modules on a worker whose disk has no room for the file. It hands them
// back, and another worker executes them.
func (p *place) withoutRoom(t *testing.T) {
	t.Helper()
	for _, c := range []struct{ name, makes, reads, module, says string }{
		{"full-store", "full-store", "near", "make", "store its artifacts"},
		{"full-fetch", "near", "full-fetch", "use", "artifact big of make"},
	} {
		w := p.apart(t, c.name, "--tags", c.name)
		w.awaitText(t, "working")
		w.room(t, 2<<20)
		r := p.start(t, largeFrom(c.makes, c.reads))
		w.awaitText(t, "cannot begin attempts")
		if said := w.stderrText(); !strings.Contains(said, c.says) || !strings.Contains(said, "file too large") {
			t.Errorf("%s does not say what is full: %s", c.name, said)
		}
		p.apart(t, c.name+"-2", "--tags", c.name)
		res := r.result(t)
		res.want(t, 0, all(succeeded, "make", "use"))
		got := res.Report.module(t, c.module).attempts() // it may try more than once until the other worker is there
		if others := strings.ReplaceAll(got, "handed_back, ", ""); others != succeeded || got == succeeded {
			t.Errorf("attempts of %s: %s", c.module, got)
		}
	}
}

// damagedOnTheMachine flips a byte of the file in the store of a worker.
func (p *place) damagedOnTheMachine(t *testing.T) {
	t.Helper()
	p.apart(t, "flips", "--tags", "flips")
	first := p.run(t, largeFrom("near", "flips"), "--run-id", "flips")
	first.want(t, 0, all(succeeded, "make", "use"))
	store := filepath.Join(p.homeOf("flips"), "cache", "modpipe", "files", "content")
	flipped := 0
	err := filepath.WalkDir(store, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil || len(data) != 12_000_000 {
			return err
		}
		flipped++
		damaged := slices.Clone(data)
		damaged[len(damaged)/2] ^= 1
		if err := os.Chmod(path, 0o600); err != nil {
			return err
		}
		return os.WriteFile(path, damaged, 0o600)
	})
	if err != nil || flipped != 1 {
		t.Fatalf("%d files flipped, %v", flipped, err)
	}
	p.retried(t, "flips", "use")
}
