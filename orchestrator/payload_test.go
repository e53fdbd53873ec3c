package orchestrator_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestRunSucceedsWithTheSmallestPayload: a run succeeds on a server with the
// smallest maximum payload that modpipe supports. Its specification, environment,
// output and results are all larger than one message.
func TestRunSucceedsWithTheSmallestPayload(t *testing.T) {
	s := newSiteOn(t, natstest.StartServer(t, func(o *server.Options) { o.MaxPayload = jetstream.LeastPayload }))
	for _, name := range []string{"w1", "w2"} {
		s.worker(name)
	}
	var text strings.Builder // 400,000 characters that do not compress to less than a half
	for i := 0; text.Len() < 400_000; i++ {
		fmt.Fprintf(&text, "%x", sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
	}
	rep, events := s.run(fmt.Sprintf(`
name: p
modules:
  spread: {run: 'echo "all=[1,2,3,4,5,6,7,8]" >>"$MODPIPE_OUTPUT"', outputs: [all]}
  each:
    needs: spread
    matrix: {x: "${{ fromJSON(needs.spread.outputs.all) }}"}
    env: {A: %[1]s, B: %[2]s, C: %[3]s}
    outputs: [o]
    run: printf 'o=%%s%%.60000s\n' "$MODPIPE_MATRIX_X" "$A" >>"$MODPIPE_OUTPUT"; printf '%%s\n' "$A$B$C" "$C"
  large: {needs: each, outputs: [o], run: 'printf o= >>"$MODPIPE_OUTPUT"; od -An -v -tx1 /dev/urandom | tr -d " \n" | head -c 1000000 >>"$MODPIPE_OUTPUT"; echo >>"$MODPIPE_OUTPUT"'}
  last:
    needs: [large, each]
    run: wc -c <"$MODPIPE_NEEDS"
`, text.String()[:100_000], text.String()[100_000:200_000], text.String()[200_000:300_000]))
	if rep.Status != report.RunSucceeded {
		t.Fatalf("%s: %s, %s", rep.Status, rep.Error, statuses(rep))
	}
	lines := map[string][]string{}
	for _, e := range events {
		if e.Event == report.EventModuleOutput {
			lines[e.Module] = append(lines[e.Module], e.Text)
		}
	}
	want := text.String()[:300_000] + text.String()[200_000:300_000]
	for i := range 8 {
		if got := strings.Join(lines[fmt.Sprintf("each (x=%d)", i+1)], ""); got != want {
			t.Errorf("%d bytes of output of %d, want %d", len(got), i+1, len(want))
		}
	}
	if got := strings.TrimSpace(strings.Join(lines["last"], "")); len(got) < 7 {
		t.Errorf("the needs of the last module have %s bytes", got)
	}
	s.eachOnce("r1")
}

// TestModuleWithATooLargeJobFails: a module whose job is larger than 64 MiB
// fails with the reason. Its job is not published again and again.
func TestModuleWithATooLargeJobFails(t *testing.T) {
	s := newSite(t, 1)
	rep, _ := s.run(`
name: p
modules:
  a: {outputs: [o], run: 'printf o= >>"$MODPIPE_OUTPUT"; head -c 40000000 /dev/zero | tr "\0" x >>"$MODPIPE_OUTPUT"; echo >>"$MODPIPE_OUTPUT"'}
  b: {needs: a, run: "true", env: {X: "${{ needs.a.outputs.o }}", Y: "${{ needs.a.outputs.o }}"}}
`)
	if got := statuses(rep); got != "a=succeeded b=failed" {
		t.Fatal(got)
	}
	if text := rep.Modules[1].Error; !strings.Contains(text, "too large") || !strings.Contains(text, "64 MiB") {
		t.Errorf("the error lacks the reason: %s", text)
	}
}
