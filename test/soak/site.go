package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/files"
	"github.com/modpipe/modpipe/internal/natsembed"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/worker"
)

// site is where runs run.
type site struct {
	client    *broker.Conn
	processes []*process // none: all is in this one
	profiles  string     // where the server's are, when it has its own process
	taken     atomic.Int64
	closing   []func() error
}

func (s *site) onClose(f func() error) { s.closing = append(s.closing, f) }

// close ends everything in the opposite order.
func (s *site) close() error {
	var errs []error
	for _, f := range slices.Backward(s.closing) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

func (o *options) open(ctx context.Context, dir string) (*site, error) {
	s := &site{}
	start := s.inProcess
	if o.processes {
		start = s.inProcesses
	}
	if err := start(ctx, dir); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// retention is short, so that logs are dropped all the time.
var retention = orchestrator.Retention{
	Keep: 20 * time.Second, Grace: 5 * time.Second, Ends: time.Minute, Every: 5 * time.Second,
}

// mostFiles is how many bytes of files a worker keeps: so few that it has to
// remove some.
const mostFiles = 4 << 20

// mostBlobs is the limit of the store on NATS: the sweep has to make room in it. Content
// that a second sender finds there stays for a day, so no two attempts of this load
// leave the same content that is not that of every run.
const mostBlobs = 8 << 20

// limitBlobs gives the store on NATS, which exists, its limit.
func limitBlobs(ctx context.Context, url string) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	stream, err := js.Stream(ctx, "OBJ_"+streams.BlobsBucket)
	if err != nil {
		return err
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxBytes = mostBlobs
	_, err = js.UpdateStream(ctx, cfg)
	return err
}

func (s *site) inProcess(ctx context.Context, dir string) error {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	server, err := natsembed.Start(natsembed.Config{Store: filepath.Join(dir, "nats"), Logger: logger})
	if err != nil {
		return err
	}
	s.onClose(func() error { server.Close(); return nil })
	connect := func(name string) (*broker.Conn, error) {
		c, err := broker.Connect(ctx, broker.Config{URL: server.URL(), Name: name, Logger: logger})
		if err == nil {
			s.onClose(func() error { c.Close(); return nil })
		}
		return c, err
	}
	if s.client, err = connect("client"); err != nil {
		return err
	}
	if err := limitBlobs(ctx, server.URL()); err != nil {
		return err
	}
	serving, err := connect("serve")
	if err != nil {
		return err
	}
	s.keep(ctx, func(ctx context.Context) error {
		return orchestrator.Serve(ctx, serving, orchestrator.ServeConfig{
			Config: orchestrator.Config{Name: "soak", Logger: logger}, Retention: retention,
			Adopted: func(jobs.RunID) { s.taken.Add(1) },
		})
	})
	for _, name := range []string{"one", "two"} {
		c, err := connect(name)
		if err != nil {
			return err
		}
		w, err := worker.New(c, worker.Config{
			Name: name, Slots: 4, Workspace: dir, PassAll: true, Logger: logger,
			Files: files.New(files.Config{Dir: filepath.Join(dir, "files-"+name), Max: mostFiles, Remote: c.Files}),
		})
		if err != nil {
			return err
		}
		s.keep(ctx, w.Run)
	}
	return nil
}

// keep runs something until the site is closed.
func (s *site) keep(ctx context.Context, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var g errgroup.Group
	g.Go(func() error {
		err := run(ctx)
		if err != nil && ctx.Err() == nil {
			say("it has ended by itself: %v", err)
			return err
		}
		return nil
	})
	s.onClose(func() error {
		cancel()
		if err := g.Wait(); err != nil {
			return fmt.Errorf("what should go on has ended: %w", err)
		}
		return nil
	})
}
