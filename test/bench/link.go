package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/test/faultproxy"
)

// cell is a link, the bytes that it carried, and the share of the link that each transfer
// used: the time that the rate needs for the bytes, divided by the measured time.
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

// links measures how much of a link values and logs use, compared with a plain copy over
// TCP. A proxy simulates the link: `link [-seconds N] [-out F]`.
// `-only 1/200,50/50` measures some of the links, and leaves the figures of the
// others as they are in the file.
// Every transfer has its own connection, which knows nothing of the link:
// its first steps are part of the time.
func links(args []string) error {
	set := flag.NewFlagSet("link", flag.ContinueOnError)
	seconds := set.Int("seconds", 8, "how long a link needs for what it is given")
	out := set.String("out", "test/bench/link.json", "where the figures go")
	only := set.String("only", "", "links to measure, as Mbit/s / ms of a round trip: 1/200,50/50 (default: all)")
	if err := set.Parse(args); err != nil {
		return err
	}
	cells, err := chosenLinks(*only, *seconds)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // of the temporary directory
	if err := measureLinks(dir, cells); err != nil {
		return err
	}
	if cells, err = withOthers(*out, cells); err != nil {
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

// chosenLinks are the links to measure.
func chosenLinks(only string, seconds int) (cells []cell, err error) {
	chosen := map[string]bool{}
	for name := range strings.SplitSeq(only, ",") {
		chosen[name] = true
	}
	for _, rate := range []int{1, 10, 50} {
		for _, rtt := range []int{0, 50, 200} {
			c := cell{MbitPerS: rate, RTTMS: rtt, Bytes: seconds * rate * 1_000_000 / 8}
			if only == "" || chosen[c.name()] {
				cells = append(cells, c)
			}
		}
	}
	if len(cells) == 0 {
		return nil, fmt.Errorf("-only %s: there is no such link", only)
	}
	return cells, nil
}

func (c *cell) name() string { return fmt.Sprintf("%d/%d", c.MbitPerS, c.RTTMS) }

// withOthers adds the figures that a file has for the links that were not
// measured.
func withOthers(file string, cells []cell) ([]cell, error) {
	text, err := os.ReadFile(file) //nolint:gosec // named by the user
	if errors.Is(err, fs.ErrNotExist) {
		return cells, nil
	}
	if err != nil {
		return nil, err
	}
	var all []cell
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	for _, c := range cells {
		same := func(o cell) bool { return o.name() == c.name() }
		all = append(slices.DeleteFunc(all, same), c)
	}
	slices.SortFunc(all, func(a, b cell) int {
		return cmp.Or(a.MbitPerS-b.MbitPerS, a.RTTMS-b.RTTMS)
	})
	return all, nil
}

// measureLinks measures the links one after another: links that are measured
// at the same time compete for the processors.
func measureLinks(dir string, cells []cell) error {
	var others family
	defer others.kill()
	url, err := others.server(dir)
	if err != nil {
		return err
	}
	for i := range cells {
		c := &cells[i]
		if err := c.measure(context.Background(), url); err != nil {
			return fmt.Errorf("%d Mbit/s, %d ms: %w", c.MbitPerS, c.RTTMS, err)
		}
	}
	return nil
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
