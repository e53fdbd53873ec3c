package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modpipe/modpipe"
)

// Checkout is a tree of sources.
type Checkout struct{ Branch, Commit string }

func (c Checkout) onMain() bool { return c.Branch == "main" }

// Version is what is released.
type Version struct{ Number, Channel string }

// Target is a platform: the data of a matrix is the receiver of its function.
type Target struct{ OS, Arch string }

// Binary is what was built for a target.
type Binary struct {
	Target Target
	SHA256 string
}

// LintReport is what the linter has found.
type LintReport struct{ Warnings int }

// Shard numbers a part of the tests.
type Shard int

// TestReport is what a shard has run.
type TestReport struct{ Passed, Failed int }

// Package is everything that is published.
type Package struct {
	Version  Version
	Binaries []Binary
	Notes    string
}

func (p Package) bytes() []byte {
	var b strings.Builder
	for _, bin := range p.Binaries {
		fmt.Fprintf(&b, "%s %s/%s\n", bin.SHA256, bin.Target.OS, bin.Target.Arch)
	}
	return []byte(b.String())
}

// Release is where a package was published.
type Release struct{ URL string }

func checkout(ctx context.Context, branch string) (Checkout, error) {
	sum := sha256.Sum256([]byte(branch))
	c := Checkout{Branch: branch, Commit: hex.EncodeToString(sum[:4])}
	modpipe.Logger(ctx).Info("checked out", "branch", c.Branch, "commit", c.Commit)
	return c, nil
}

func readVersion(_ context.Context, c Checkout, channel string) (Version, error) {
	switch channel {
	case "stable":
		return Version{"1.2.0", channel}, nil
	case "dev":
		return Version{"1.2.0-dev+" + c.Commit, channel}, nil
	}
	return Version{}, modpipe.Permanent(fmt.Errorf("no channel is called %q", channel))
}

func lint(_ context.Context, c Checkout) (LintReport, error) {
	if !c.onMain() {
		return LintReport{}, errors.New("3 findings")
	}
	return LintReport{}, nil
}

// build stands for a compiler that takes a while.
func (t Target) build(ctx context.Context, v Version) (Binary, error) {
	modpipe.Logger(ctx).Info("building", "version", v.Number)
	if err := sleep(ctx, 50*time.Millisecond); err != nil {
		return Binary{}, err
	}
	sum := sha256.Sum256([]byte(v.Number + t.OS + t.Arch))
	return Binary{t, hex.EncodeToString(sum[:])}, nil
}

func (s Shard) test(ctx context.Context, _ Checkout) (TestReport, error) {
	return TestReport{Passed: 10 + int(s)}, sleep(ctx, 20*time.Millisecond)
}

func sumUp(_ context.Context, reports []TestReport) (TestReport, error) {
	var sum TestReport
	for _, r := range reports {
		sum.Passed += r.Passed
		sum.Failed += r.Failed
	}
	if sum.Failed > 0 {
		return sum, fmt.Errorf("%d tests failed", sum.Failed)
	}
	return sum, nil
}

func pack(_ context.Context, v Version, bins []Binary, lint *LintReport) (Package, error) {
	notes := "linted"
	if lint == nil {
		notes = "not linted"
	}
	return Package{Version: v, Binaries: bins, Notes: notes}, nil
}

// publish holds the key "registry": its fencing token keeps a machine that was
// paused from overwriting what a later one has published.
func publish(ctx context.Context, p Package, sums map[string]string) (Release, error) {
	modpipe.Logger(ctx).Info("publishing", "sum", sums["sum"], "token", modpipe.AttemptOf(ctx).FencingToken)
	return Release{"https://example.org/" + p.Version.Channel + "/" + p.Version.Number}, nil
}

func notify(ctx context.Context, outcomes []modpipe.Outcome, r *Release) (struct{}, error) {
	log := modpipe.Logger(ctx)
	for _, o := range outcomes {
		if !o.Succeeded() {
			log.Warn(o.String())
		}
	}
	if r == nil {
		log.Info("nothing was published")
		return struct{}{}, nil
	}
	log.Info("published", "url", r.URL)
	return struct{}{}, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
