package trust

import (
	"slices"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/internal/natsprobe"
	"github.com/modpipe/modpipe/internal/roles"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestDoctorComparesUsersWithRoles: each user has its own role exactly, and lacks and
// exceeds others by name. The trials leave nothing behind.
func TestDoctorComparesUsersWithRoles(t *testing.T) {
	s := newSite(t)
	ctx := natstest.Within(t)
	before := natstest.Must[uint64](t)(messages(t, s))
	probe := func(user string, r roles.Role, o roles.Options) (missing, excessive []string) {
		t.Helper()
		c := natstest.Must[*broker.Conn](t)(broker.Attach(ctx, broker.Config{URL: s.ClientURL(), Options: s.options(user), Inbox: ident.Inbox(user), Logger: natstest.Quiet()}))
		defer c.Close()
		o.Inbox = ident.Inbox(user)
		var uses []natsprobe.Use
		for _, trial := range roles.Trials(r, o, ident.New()) {
			uses = append(uses, natsprobe.Use(trial))
		}
		missing, excessive, err := natsprobe.New(c.Conn).Role(ctx, uses)
		natstest.Check(t, err)
		return missing, excessive
	}
	inCI := roles.Options{Group: "ci", Lanes: []string{"any"}}
	for user, role := range map[string]roles.Role{boss: roles.Orchestrator, ci: roles.Worker, giver: roles.Submitter} {
		o := roles.Options{}
		if user == ci {
			o = inCI
		}
		if missing, excessive := probe(user, role, o); len(missing)+len(excessive) > 0 {
			t.Errorf("%s lacks %q and exceeds %q", user, missing, excessive)
		}
	}
	missing, excessive := probe(prod, roles.Worker, inCI)
	for _, want := range []string{"publish to $JS.API.CONSUMER.MSG.NEXT.MP_JOBS.any", "subscribe to mp.ctl.worker.ci.*", "subscribe to mp.bell.any.>"} {
		if !slices.Contains(missing, want) {
			t.Errorf("no %s in %q", want, missing)
		}
	}
	if len(excessive) > 0 {
		t.Logf("a worker of another group has %q", excessive)
	}
	_, excessive = probe(boss, roles.Worker, inCI)
	for _, want := range []string{"publish to $JS.API.STREAM.MSG.GET.MP_RUNS", "publish to $JS.API.STREAM.CREATE.KV_mp-workers", "publish to mp.job.", "publish to $KV.mp-leases.", "subscribe to mp.ask."} {
		if !slices.ContainsFunc(excessive, func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("no %s in %q", want, excessive)
		}
	}
	if after := natstest.Must[uint64](t)(messages(t, s)); after != before {
		t.Errorf("%d messages are stored, %d before", after, before)
	}
}

// messages counts the messages, streams and consumers of the server.
func messages(t *testing.T, s *site) (uint64, error) {
	t.Helper()
	info, err := s.Jsz(nil)
	if err != nil {
		return 0, err
	}
	return info.Messages + uint64(info.Streams)<<32 + uint64(info.Consumers)<<48, nil //nolint:gosec // counts
}
