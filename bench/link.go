package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/faultproxy"
)

// cell is a link, what it was given to carry, and what share of it each
// transfer used: bytes over the time that the rate allows for them.
type cell struct {
	MbitPerS  int     `json:"mbit_per_s"`
	RTTMS     int     `json:"rtt_ms"`
	Bytes     int     `json:"bytes"`
	FloorUp   float64 `json:"floor_up"` // a plain copy over TCP
	FloorDown float64 `json:"floor_down"`
	ValueUp   float64 `json:"value_up"` // from the worker to the server
	ValueDown float64 `json:"value_down"`
	LogUp     float64 `json:"log_up"`
	LogDown   float64 `json:"log_down"`
}

// links measures what values and logs use of a link, beside a plain copy over
// TCP, each through a proxy that makes the link: `link [-seconds N] [-out F]`.
// Every transfer has a connection of its own, which knows nothing of the link:
// its first steps are part of the time. Links of different rates are measured
// at the same time, each on a server of its own.
func links(args []string) error {
	set := flag.NewFlagSet("link", flag.ContinueOnError)
	seconds := set.Int("seconds", 6, "how long a link needs for what it is given")
	out := set.String("out", "bench/link.json", "where the figures go")
	if err := set.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // of the temporary directory
	cells, err := measureLinks(dir, *seconds)
	if err != nil {
		return err
	}
	if err := printLinks(cells); err != nil {
		return err
	}
	text, err := json.MarshalIndent(cells, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(*out, append(text, '\n'), 0o644) //nolint:gosec // figures, for anyone
}

func measureLinks(dir string, seconds int) ([]cell, error) {
	var others family
	defer others.kill()
	rates, delays := []int{1, 10, 50}, []int{0, 50, 200}
	cells := make([]cell, 0, len(rates)*len(delays))
	for _, rate := range rates {
		for _, rtt := range delays {
			cells = append(cells, cell{MbitPerS: rate, RTTMS: rtt, Bytes: seconds * rate * 1_000_000 / 8})
		}
	}
	group, ctx := errgroup.WithContext(context.Background())
	for i, rate := range rates {
		url, err := others.server(fmt.Sprintf("%s/%d", dir, rate))
		if err != nil {
			return nil, err
		}
		group.Go(func() error {
			for k := range delays {
				c := &cells[i*len(delays)+k]
				if err := c.measure(ctx, url); err != nil {
					return fmt.Errorf("%d Mbit/s, %d ms: %w", c.MbitPerS, c.RTTMS, err)
				}
			}
			return nil
		})
	}
	return cells, group.Wait()
}

func (c *cell) measure(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	near, err := broker.Connect(ctx, broker.Config{URL: url})
	if err != nil {
		return err
	}
	defer near.Close()
	sample := newSample(c)
	for _, m := range []struct {
		share *float64
		what  string
		move  func(context.Context, string) (time.Duration, error)
	}{
		{&c.FloorUp, "copy up", sample.copyUp},
		{&c.FloorDown, "copy down", sample.copyDown},
		{&c.ValueUp, "value up", sample.over(near, valueUp)},
		{&c.ValueDown, "value down", sample.over(near, valueDown)},
		{&c.LogUp, "log up", sample.over(near, logUp)},
		{&c.LogDown, "log down", sample.over(near, logDown)},
	} {
		took, err := m.move(ctx, strings.TrimPrefix(url, "nats://"))
		if err != nil {
			return fmt.Errorf("%s: %w", m.what, err)
		}
		*m.share = float64(c.Bytes) / c.bytesPerS() / took.Seconds()
		fmt.Fprintf(os.Stderr, "%2d Mbit/s %3d ms %-10s %3.0f %%\n", c.MbitPerS, c.RTTMS, m.what, 100**m.share)
	}
	return nil
}

func (c *cell) bytesPerS() float64 { return float64(c.MbitPerS) * 1_000_000 / 8 }

// through runs f with the address of a proxy to target that is such a link.
func (c *cell) through(ctx context.Context, target string, f func(addr string) error) (err error) {
	proxy, err := faultproxy.New(ctx, target)
	if err != nil {
		return err
	}
	proxy.Set(faultproxy.Fault{Rate: int(c.bytesPerS()), Latency: time.Duration(c.RTTMS) * time.Millisecond / 2})
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- proxy.Run(ctx) }()
	err = f(proxy.Addr())
	cancel()
	return errors.Join(err, <-ended)
}

func printLinks(cells []cell) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	_, _ = fmt.Fprintln(w, "| link\t| round trip\t| given\t| TCP up, down\t| value up, down\t| log up, down\t|")
	_, _ = fmt.Fprintln(w, "| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t|")
	for _, c := range cells {
		_, _ = fmt.Fprintf(w, "| %d Mbit/s\t| %d ms\t| %.2f MB\t| %.0f %%, %.0f %%\t| %.0f %%, %.0f %%\t| %.0f %%, %.0f %%\t|\n",
			c.MbitPerS, c.RTTMS, float64(c.Bytes)/1e6, 100*c.FloorUp, 100*c.FloorDown,
			100*c.ValueUp, 100*c.ValueDown, 100*c.LogUp, 100*c.LogDown)
	}
	return w.Flush()
}
