package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/report"
)

func jobsRun(run string) jobs.RunID { return jobs.RunID(run) }

// tidyIn is the time after the last run's end in which remains of it may still exist. A
// worker that was cut off learns late that its runs have ended.
const tidyIn = 20 * time.Second

// gather collects the evidence when all runs have ended.
func (w *world) gather(ctx context.Context, l *ledger) (*evidence, error) {
	runs := l.survived()
	e := &evidence{began: w.began, runs: runs, logs: map[string][]jobs.Entry{}, reports: map[string]report.Report{}}
	tidy := func() bool {
		e.processes, e.queued, e.left = processesOf(l.all()), w.queued(ctx), w.held(ctx, runs)
		return len(e.processes) == 0 && len(e.queued) == 0 && len(e.left) == 0
	}
	// The evidence contains everything that is left after that.
	if err := until(ctx, tidyIn, 200*time.Millisecond, "nothing is left", tidy); err != nil && ctx.Err() != nil {
		return nil, err
	}
	for _, s := range runs {
		log, err := w.conn.Runs.Read(ctx, jobsRun(s.plan.run))
		if err != nil {
			return nil, err
		}
		e.logs[s.plan.run] = log
		code, out, said := w.command(ctx, commandIn, "runs", "show", s.plan.run, "-o", "json")
		var rep report.Report
		if err := json.Unmarshal([]byte(out), &rep); err != nil || code != 0 {
			return nil, fmt.Errorf("runs show %s: exit %d, %w: %s", s.plan.run, code, err, said)
		}
		e.reports[s.plan.run] = rep
	}
	e.execs = w.recorder.Execs()
	w.mu.Lock()
	defer w.mu.Unlock()
	e.pauses, e.stalls, e.losses, e.forgot = w.pauses, slices.Clone(w.stalls), slices.Clone(w.losses), l.forgot
	return e, nil
}

// processesOf returns the processes whose environment names one of the runs.
func processesOf(runs []submitted) map[string][]int {
	found := map[string][]int{}
	files, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is sound
	for _, f := range files {
		env, err := os.ReadFile(f) //nolint:gosec // of /proc
		if err != nil {
			continue // the process has ended, or belongs to another user
		}
		for word := range strings.SplitSeq(string(env), "\x00") {
			run, ok := strings.CutPrefix(word, "MODPIPE_RUN_ID=")
			if !ok || !slices.ContainsFunc(runs, func(s submitted) bool { return s.plan.run == run }) {
				continue
			}
			if pid, err := strconv.Atoi(strings.Split(f, "/")[2]); err == nil {
				found[run] = append(found[run], pid)
			}
		}
	}
	return found
}

// queued counts the jobs in the queue, by run.
func (w *world) queued(ctx context.Context) map[string]int {
	left := map[string]int{}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	answer, err := w.conn.APIOnce(ctx, "STREAM.INFO.MP_JOBS", []byte(`{"subjects_filter":">"}`))
	var info struct {
		State struct{ Subjects map[string]int }
		Error *struct{ Description string }
	}
	if err == nil {
		err = json.Unmarshal(answer.Data, &info)
	}
	if err != nil || info.Error != nil {
		left["the queue cannot be read"] = 1
		return left
	}
	for subject, n := range info.State.Subjects { // mp.job.LANE.RUN.MODULE.ATTEMPT
		if words := strings.Split(subject, "."); len(words) == 6 {
			left[words[3]] += n
		} else {
			left[subject] += n
		}
	}
	return left
}

// held returns the leases, keys and limits that ended runs still hold.
func (w *world) held(ctx context.Context, runs []submitted) []string {
	leases, err := kv.Holders(ctx, w.conn.Conn)
	if err != nil {
		return []string{err.Error()}
	}
	var left []string
	for _, s := range runs {
		if l, ok := leases[s.plan.run]; ok {
			left = append(left, fmt.Sprintf("the lease of %s, which %s holds,", s.plan.run, l.Holder))
		}
	}
	locks, err := kv.OpenLocks(ctx, w.conn.Conn)
	if err != nil {
		return append(left, err.Error())
	}
	for _, l := range []jobs.Lock{{Name: "shared1"}, {Name: "shared2"}, {Name: "wide", Limit: true}} {
		holders, err := locks.Holders(ctx, l)
		if err != nil {
			left = append(left, err.Error())
		}
		for _, h := range holders {
			left = append(left, fmt.Sprintf("%s, which attempt %d of %s/%s holds,", l.Name, h.Attempt, h.Run, h.Module))
		}
	}
	return left
}
