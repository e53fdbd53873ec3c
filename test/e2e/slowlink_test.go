package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/modpipe/modpipe/test/faultproxy"
)

// TestASlowLinkLosesNoAttempt: a worker behind 1 Mbit/s and 200 ms returns a
// value of 400 kB and writes a log of 400 kB, neither of which can be
// compressed to less than half; the next module needs the value on the same
// side of the link.
func TestASlowLinkLosesNoAttempt(t *testing.T) {
	p := farPlace(t)
	r := p.startIn(t, p.dir(t), p.file(t, `
name: e2e
modules:
  value:
    requires: {tags: [far]}
    run: |
      head -c 200000 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >value
      { printf value=; cat value; echo; } >>"$MODPIPE_OUTPUT"
      printf sum= >>"$MODPIPE_OUTPUT"
      sha256sum <value | cut -d ' ' -f 1 >>"$MODPIPE_OUTPUT"
  log: {requires: {tags: [far]}, run: "head -c 200000 /dev/urandom | od -An -v -tx1 | tr -d ' '"}
  reads:
    needs: [value]
    requires: {tags: [far]}
    env: {SUM: "${{ needs.value.outputs.sum }}"}
    stdin: "${{ needs.value.outputs.value }}"
    run: test "$(sha256sum | cut -d ' ' -f 1)" = "$SUM"
`))
	res := r.result(t)
	wantOneAttempt(t, res, "value", "log", "reads")
	if got := len(strings.Join(res.output("log", "stdout"), "")); got != 400_000 {
		t.Errorf("%d bytes of the log arrived", got)
	}
}

// TestALongValueReachesAFarWorker: a worker behind 1 Mbit/s and 200 ms reads a
// value of 3 MB that was made beside the server, and starts its module once.
func TestALongValueReachesAFarWorker(t *testing.T) {
	p := farPlace(t)
	p.worker(t, "near", "--tags", "near")
	r := p.startIn(t, p.dir(t), p.file(t, `
name: e2e
modules:
  value:
    requires: {tags: [near]}
    run: |
      { printf value=; head -c 1500000 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; echo; } >>"$MODPIPE_OUTPUT"
  reads:
    needs: [value]
    requires: {tags: [far]}
    run: test "$(wc -c <"$MODPIPE_NEEDS")" -gt 3000000
`))
	res := r.result(t)
	wantOneAttempt(t, res, "value", "reads")
}

// farPlace has a server, and a worker with the tag far behind 1 Mbit/s and
// 200 ms.
func farPlace(t *testing.T) *place {
	t.Helper()
	p := newPlace(t, workers)
	x := newProxy(t, p.server(t).addr)
	x.Set(faultproxy.Fault{Rate: 125_000, Latency: 100 * time.Millisecond})
	p.workerAt(t, x.url, "far", "--tags", "far")
	return p
}

// wantOneAttempt expects that the modules succeeded in their first attempt.
func wantOneAttempt(t *testing.T, res *result, modules ...string) {
	t.Helper()
	res.want(t, 0, all(succeeded, modules...))
	for _, module := range modules {
		if got := res.Report.module(t, module).attempts(); got != "succeeded" {
			t.Errorf("attempts of %s: %s", module, got)
		}
	}
}
