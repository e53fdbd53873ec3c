package cli_test

import (
	"testing"

	"github.com/modpipe/modpipe/cli"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestDoctorCopies: existing streams keep one copy, and the setting of today does not change that.
func TestDoctorCopies(t *testing.T) {
	s := natstest.StartServer(t, nil)
	p := newProgram(t, cli.Orchestrator)
	if found := diagnose(t, p, 0, "-s", s.URL()); found["copies"].State != "" {
		t.Errorf("copies of a missing bucket or stream: %+v", found["copies"])
	}
	connect(t, s.URL()) // it makes the streams
	diagnose(t, p, 0, "-s", s.URL()).want(t, "copies", "ok", "1 of every existing stream")
	diagnose(t, p, 0, "-s", s.URL(), "--replicas", "3").want(t, "copies", "warning", "fewer than 3 of MP_JOBS", "nats stream edit STREAM --replicas 3")
}
