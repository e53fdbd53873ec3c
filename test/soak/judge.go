package main

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// record is the result of a soak.
type record struct {
	Began     time.Time `json:"began"`
	Minutes   float64   `json:"minutes"`
	Rate      float64   `json:"runs_per_second"`
	Processes bool      `json:"processes"`
	Runs      int       `json:"runs"`
	Stored    int       `json:"runs_with_those_done_again"`
	Attempts  int       `json:"attempts"`
	Trends    []trend   `json:"trends"`
	Samples   []*sample `json:"samples"`
}

// trend is the course of a figure over the last three quarters of the samples.
type trend struct {
	What   string  `json:"what"`
	Mean   float64 `json:"mean"`
	Grown  float64 `json:"grown"`   // by the line through them, from its beginning to its end
	MayAdd float64 `json:"allowed"` // so much of that is noise
}

// blockBuffer is the largest buffer of nats-server for the end of a stream that it writes
// to. The server frees it when it starts another block (filestore.go, the pools of
// blocks). At any time some streams have a buffer, and others do not.
const blockBuffer = 8 << 20

// judge finds the figures that grow.
func (r *record) judge() (faults []string) {
	r.Trends = nil
	last := r.Samples[len(r.Samples)/4:]
	if taken := last[len(last)-1].Taken; taken > r.Stored+r.Stored/20 { // some are taken twice: when a lease lapses
		faults = append(faults, fmt.Sprintf("%d runs were taken %d times", r.Stored, taken))
	}
	look := func(what string, share, more float64, of func(*sample) float64) {
		t := trend{What: what}
		t.Mean, t.Grown = line(last, of)
		t.MayAdd = share*t.Mean + more
		r.Trends = append(r.Trends, t)
		say("%-28s mean %14.0f  grown %12.0f  allowed %12.0f", t.What, t.Mean, t.Grown, t.MayAdd)
		if t.Grown > t.MayAdd {
			faults = append(faults, fmt.Sprintf("%s grows: by %.0f over %.0f", t.What, t.Grown, t.Mean))
		}
	}
	whose := ""
	if r.Processes {
		whose = serverName + " "
	}
	look(whose+"heap bytes", 0.05, blockBuffer, func(s *sample) float64 { return float64(s.Heap) })
	look(whose+"heap objects", 0.05, 2000, func(s *sample) float64 { return float64(s.Objects) })
	look(whose+"goroutines", 0, 10, func(s *sample) float64 { return float64(s.Goroutines) })
	for _, name := range slices.Sorted(maps.Keys(r.Samples[0].Processes)) {
		if name != serverName { // whose garbage comes and goes; its heap is looked at
			look(name+" resident", 0.05, 4<<20, func(s *sample) float64 { return float64(s.Processes[name].Resident) })
		}
		look(name+" threads", 0, 5, func(s *sample) float64 { return float64(s.Processes[name].Threads) })
		look(name+" files", 0, 5, func(s *sample) float64 { return float64(s.Processes[name].Files) })
	}
	look("consumers", 0, 5, func(s *sample) float64 { return float64(s.Consumers) })
	if r.Processes { // those keep runs for ten minutes at least, and sweep as seldom
		return faults
	}
	look("stored bytes", 0.05, 1<<20, func(s *sample) float64 { return float64(s.Stored) })
	look("stored messages", 0.05, 500, func(s *sample) float64 { return float64(s.Messages) })
	return faults
}

// line fits a line by least squares: the mean, and how much it grows over all.
func line(samples []*sample, of func(*sample) float64) (mean, grown float64) {
	n := float64(len(samples))
	if n < 2 {
		return 0, 0
	}
	var x, y, xx, xy float64
	for _, s := range samples {
		t, v := float64(s.Second), of(s)
		x, y, xx, xy = x+t, y+v, xx+t*t, xy+t*v
	}
	slope := (n*xy - x*y) / (n*xx - x*x)
	return y / n, slope * float64(samples[len(samples)-1].Second-samples[0].Second)
}
