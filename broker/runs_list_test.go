package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

func listedSpec(id string) jobs.Record {
	return jobs.Record{Spec: &jobs.Spec{
		Run: jobs.RunID(id), Pipeline: &pipeline.Pipeline{Name: "p " + id, Modules: []*pipeline.Module{{Name: "m", Token: "m"}}},
		Labels: map[string]string{"ünï": "a\r\nb"}, StartedBy: "ann@host", Commit: "4f0c", RetryOf: "r0",
	}}
}

func TestListHasPagesNewestFirst(t *testing.T) {
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	for i := range 5 {
		id := fmt.Sprintf("r%d", i)
		natstest.Must[uint64](t)(c.Runs.Append(ctx, jobs.RunID(id), "", 0, listedSpec(id)))
	}
	natstest.Must[uint64](t)(c.Runs.Append(ctx, "r3", "", 0, jobs.Record{End: &jobs.End{Status: report.RunFailed, Error: "it broke"}}))
	var got []string
	page := broker.Page{Limit: 2}
	for {
		rows := natstest.Must[[]broker.RunRow](t)(c.Runs.List(ctx, page))
		if len(rows) == 0 {
			break
		}
		for _, r := range rows {
			got = append(got, r.Run.Run)
		}
		page.Before = rows[len(rows)-1].Sequence
	}
	if want := "r4 r3 r2 r1 r0"; strings.Join(got, " ") != want {
		t.Errorf("listed %v, want %s", got, want)
	}
	r := natstest.Must[[]broker.RunRow](t)(c.Runs.List(ctx, broker.Page{Limit: 2}))[1]
	if r.Pipeline != "p r3" || r.Modules != 1 || r.Labels["ünï"] != "a\r\nb" || r.StartedBy != "ann@host" || r.Commit != "4f0c" || r.RetryOf != "r0" ||
		r.Status != report.RunFailed || r.Error != "it broke" || r.Finished == nil || r.Started.IsZero() {
		t.Errorf("the row of r3: %+v", r)
	}
}

// TestListReadsNoGraphs: a list is made from headers. The body of this
// specification cannot be read at all.
func TestListReadsNoGraphs(t *testing.T) {
	c, _, put := hostile(t)
	row := `{"pipeline":"p","labels":{},"modules":7,"status":"succeeded","finished":"2026-01-02T03:04:05Z"}`
	put("mp.run.r.spec", []byte("damaged"), nats.Header{"Mp-Run": {row}})
	rows := natstest.Must[[]broker.RunRow](t)(c.Runs.List(natstest.Within(t), broker.Page{}))
	if len(rows) != 1 || rows[0].Run.Run != "r" || rows[0].Pipeline != "p" || rows[0].Modules != 7 || rows[0].Problem != nil {
		t.Errorf("rows: %+v", rows)
	}
	if rows[0].Status != report.RunRunning || rows[0].Finished != nil || time.Since(rows[0].Started) > time.Hour {
		t.Errorf("the header decides more than it may: %+v", rows[0])
	}
}

// TestListReadsSpecificationsWithoutHeader: an older version has submitted the
// run, or the header is damaged or too long.
func TestListReadsSpecificationsWithoutHeader(t *testing.T) {
	c, _, put := hostile(t)
	for id, header := range map[string]nats.Header{
		"old": nil, "damaged": {"Mp-Run": {"{"}}, "long": {"Mp-Run": {`{"labels":{"a":"` + strings.Repeat("x", 20<<10) + `"}}`}},
	} {
		rec := listedSpec(id)
		put("mp.run."+id+".spec", natstest.Must[[]byte](t)(jobs.Marshal(&rec)), header)
	}
	rows := natstest.Must[[]broker.RunRow](t)(c.Runs.List(natstest.Within(t), broker.Page{}))
	if len(rows) != 3 {
		t.Fatalf("rows: %+v", rows)
	}
	for _, r := range rows {
		if r.Pipeline != "p "+r.Run.Run || r.Modules != 1 || r.StartedBy != "ann@host" {
			t.Errorf("row: %+v", r)
		}
	}
}
