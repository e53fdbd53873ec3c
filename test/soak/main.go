// Command soak runs modpipe for a long time and checks that nothing grows.
//
//	soak -minutes 60
//	soak -minutes 60 -processes -write test/soak/processes.json
//	soak -judge test/soak/soak.json
//
// A NATS server, two workers and an orchestrator that serves run in this
// process, or, with -processes, each in a separate one. soak submits small runs of several
// shapes at a bounded rate: chains, fans with a key, matrices from results, values large
// enough for the object store, artifacts, cached results and cache directories, retries, failures
// that are run again, cancellations, keys of the cluster. It follows every run with its output. Each must end as its shape says.
// Logs of runs are kept for seconds, so that they are dropped all the time.
//
// Twice a minute, soak submits nothing until every run has ended. The memory should then
// always be the same. It samples the heap after a collection, goroutines, resident memory,
// open files and threads of the process or processes, and the stored bytes and consumers
// of the server.
//
// The verdict, on the last line, uses the last three quarters of the samples. Their trend
// must be flat. The buffers of nats-server for its current blocks are excepted, because
// their number varies. The exit code is 0 when the trend is flat and every run ended as
// its shape says.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"
)

func main() {
	o := options{}
	flag.Float64Var(&o.minutes, "minutes", 60, "how long")
	flag.Float64Var(&o.rate, "rate", 1, "runs a second")
	flag.DurationVar(&o.every, "every", 30*time.Second, "between samples")
	flag.BoolVar(&o.processes, "processes", false, "run the programs themselves, each in its own process")
	flag.StringVar(&o.heap, "heap", "", "where a profile of the heap goes at the end, for pprof")
	flag.StringVar(&o.write, "write", "", "where the samples go, as JSON")
	flag.StringVar(&o.judge, "judge", "", "run nothing: judge the samples of this file, as -write has left it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) //nolint:forbidigo // main creates one
	defer stop()
	if err := o.run(ctx); err != nil {
		say("FAILED: %v", err)
		os.Exit(1) //nolint:gocritic // stop has nothing left to do
	}
}

type options struct {
	minutes, rate float64
	every         time.Duration
	processes     bool
	write, heap   string
	judge         string
}

func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func (o *options) run(ctx context.Context) error {
	record, err := o.record(ctx)
	if err != nil {
		return err
	}
	faults := record.judge()
	if o.write != "" {
		text, err := json.MarshalIndent(record, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.write, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("%d faults after %d runs: %s", len(faults), record.Runs, faults)
	}
	say("ok: flat over the last three quarters of %.0f minutes, %d runs with %d attempts", record.Minutes, record.Runs, record.Attempts)
	return nil
}

// record returns the record to judge.
func (o *options) record(ctx context.Context) (r *record, err error) {
	if o.judge != "" {
		text, err := os.ReadFile(o.judge)
		if err != nil {
			return nil, err
		}
		r = new(record)
		return r, json.Unmarshal(text, r)
	}
	dir, err := os.MkdirTemp("", "modpipe-soak-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary directory
	site, err := o.open(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, site.close()) }()
	if r, err = o.soak(ctx, site); err == nil && o.heap != "" {
		err = writeHeap(o.heap)
	}
	return r, err
}

// writeHeap writes a profile of the heap after a collection.
func writeHeap(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	runtime.GC()
	return errors.Join(pprof.WriteHeapProfile(f), f.Close())
}

// soak submits and samples until the time is over.
func (o *options) soak(ctx context.Context, s *site) (*record, error) {
	began := time.Now()
	limit := began.Add(time.Duration(o.minutes * float64(time.Minute)))
	l := &load{conn: s.client, began: began}
	r := &record{Began: began.UTC().Truncate(time.Second), Rate: o.rate, Processes: o.processes}
	for time.Now().Before(limit) {
		if err := l.submitFor(ctx, o.every, o.rate); err != nil {
			return nil, err
		}
		sample, err := s.sample(ctx)
		if err != nil {
			return nil, err
		}
		sample.Second, sample.Runs = int(time.Since(began).Seconds()), l.count()
		r.Samples = append(r.Samples, sample)
		r.Minutes, r.Runs, r.Attempts, r.Stored = time.Since(began).Minutes(), l.count(), l.attempts, l.stored
		say("%s", sample)
	}
	return r, nil
}
