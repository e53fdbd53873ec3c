package schedule_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// BenchmarkDecide is the core alone: fold the outcomes of 10,000 modules and
// decide after every 16th, without NATS.
func BenchmarkDecide(b *testing.B) {
	layers := func(width int) func(int) []pipeline.Need {
		return func(i int) []pipeline.Need {
			var needs []pipeline.Need
			for k := range width {
				if i >= width {
					needs = append(needs, pipeline.Need{Module: fmt.Sprint("m", i-i%width-width+k)})
				}
			}
			return needs
		}
	}
	for _, bb := range []struct {
		name  string
		needs func(int) []pipeline.Need
	}{
		{"fan-out", func(int) []pipeline.Need { return nil }},
		{"chain", layers(1)},
		{"layers", layers(100)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			p := benchPipeline(10_000, bb.needs)
			for b.Loop() {
				playOut(b, p)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*10_000), "ns/module")
		})
	}
}

func benchPipeline(modules int, needs func(int) []pipeline.Need) *pipeline.Pipeline {
	p := &pipeline.Pipeline{Name: "bench", Families: map[string][]int{}}
	var lists pipeline.NeedLists // as Bind and the wire make them
	for i := range modules {
		name := fmt.Sprint("m", i)
		p.Modules = append(p.Modules, &pipeline.Module{
			Name: name, Token: name, Slots: 1, Command: quick, Needs: lists.Shared(needs(i)),
			Policy: pipeline.Policy{QueueTimeout: time.Minute, MaxLosses: 3, Retry: pipeline.Retry{Attempts: 1}},
		})
	}
	return p
}

func playOut(b *testing.B, p *pipeline.Pipeline) {
	seq := uint64(0)
	entry := func(cell jobs.ModuleID, rec jobs.Record) jobs.Entry {
		seq++
		return jobs.Entry{Sequence: seq, Time: epochStart, Cell: cell, Record: rec}
	}
	run, err := schedule.Load([]jobs.Entry{
		entry("", jobs.Record{Spec: &jobs.Spec{Run: "r", Pipeline: p}}),
		entry("", jobs.Record{Takeover: &jobs.Takeover{Epoch: 1}}),
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	fleet := schedule.NewFleet(testTTL)
	fleet.Heartbeat(jobs.WorkerInfo{Name: "w", Incarnation: "w", Slots: 64, LanesSeen: 1 << 40}, epochStart)
	fleet.WatchSynced(epochStart)
	d := schedule.NewDispatcher(run, fleet)
	var queue []schedule.Publish
	for {
		actions, _ := d.Decide(epochStart)
		for _, a := range actions {
			switch a := a.(type) {
			case schedule.Prepare:
				d.Prepared(a.Lane, 1)
			case schedule.Publish:
				queue = append(queue, a)
			case schedule.Finish:
				return
			}
		}
		n := min(16, len(queue))
		for _, a := range queue[:n] {
			o := &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded, Worker: "w", Started: epochStart, Finished: epochStart.Add(time.Millisecond)}
			if err := run.Apply(entry(a.Module, jobs.Record{Outcome: o})); err != nil {
				b.Fatal(err)
			}
		}
		queue = queue[n:]
	}
}
