package client_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestFeedIsContinuedFromTheLog: the orchestrator folds the log again, as after a
// reconnect, and then stops in the middle of the run. The follower sends each
// event once. The event has the same number in every fold.
func TestFeedIsContinuedFromTheLog(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		c := dial(t, s.Options()...)
		defer c.Close()
		r := submitted(t, c, "name: p\nmodules: {a: {run: 'true'}}\n")
		r.write("", jobs.Record{Takeover: &jobs.Takeover{Epoch: 1, Orchestrator: "o"}})
		claim := r.write(r.id.Module, jobs.Record{Claim: &jobs.Claim{Attempt: 1, Worker: "w", Incarnation: "w", Nonce: "n", Started: time.Now()}})
		entries, err := c.Runs.Read(t.Context(), "r")
		if err != nil {
			t.Fatal(err)
		}
		feed := client.NewFeed()
		for range 2 {
			feed.Observe(schedule.Step{})
			steps := schedule.NewSteps()
			for _, e := range entries {
				step, err := steps.Apply(e)
				if err != nil {
					t.Fatal(err)
				}
				feed.Observe(step)
			}
		}
		feed.Close()
		r.writeAfter(r.id.Module, claim, jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded, Worker: "w", Incarnation: "w", Nonce: "n", Started: time.Now()}})
		r.write("", jobs.Record{End: &jobs.End{Status: report.RunSucceeded}})
		var got []string
		rep, err := client.New(c).Follow(t.Context(), "r", client.FollowOptions{Feed: feed, Output: true, Sink: func(e report.Event) { got = append(got, fmt.Sprint(e.Seq, " ", e.Event)) }})
		if err != nil || rep.Status != report.RunSucceeded {
			t.Fatal(rep, err)
		}
		if diff := cmp.Diff([]string{"1 run.started", "2 module.ready", "3 module.started", "4 module.ended", "5 run.ended"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

// TestFeedNeverWaits: a follower that does not read ends the feed.
func TestFeedNeverWaits(t *testing.T) {
	feed := client.NewFeed()
	for range 1 << 15 {
		feed.Observe(schedule.Step{})
	}
	feed.Close()
}
