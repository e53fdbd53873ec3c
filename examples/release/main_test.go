package main

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/modpipe/modpipe/modpipetest"
)

// In a bubble of synctest, the builds of this example take no time.

// sum is what the one command would have set: tests run no commands.
var sum = modpipetest.Stub("checksum", map[string]string{"sum": "42"})

func TestMainIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := modpipetest.New(t, release, sum, modpipetest.Param("channel", "stable"))
		if status := p.Run(); status != "succeeded" {
			t.Fatalf("the run has %s: %s", status, p.Report().Error)
		}
		if r := modpipetest.Result[Release](p, "publish"); r.URL != "https://example.org/stable/1.2.0" {
			t.Errorf("published at %s", r.URL)
		}
		if got := modpipetest.Result[TestReport](p, "tested"); got.Passed != 33 {
			t.Errorf("%d tests passed", got.Passed)
		}
		if log := p.Log("publish"); !strings.Contains(log, "publishing sum=42 token=") {
			t.Errorf("publish has logged %q", log)
		}
	})
}

func TestOnlyMainIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := modpipetest.New(t, release, sum, modpipetest.Stub("checkout", Checkout{Branch: "topic", Commit: "abc"}))
		if o := p.Outcome("publish"); o.Status != "skipped" || o.Reason != "only main is published" {
			t.Errorf("publish: %v", o)
		}
		if status := p.Run(); status != "succeeded" {
			t.Errorf("the run has %s", status)
		}
		if log := p.Log("notify"); !strings.Contains(log, "nothing was published") {
			t.Errorf("notify has logged %q", log)
		}
	})
}

func TestPackageWithoutLint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := modpipetest.New(t, release, sum, modpipetest.StubError("lint", errors.New("no linter")))
		if o := p.Outcome("lint"); o.Status != "ignored_failure" {
			t.Errorf("lint: %v", o)
		}
		if pkg := modpipetest.Result[Package](p, "package"); pkg.Notes != "not linted" || len(pkg.Binaries) != len(targets) {
			t.Errorf("package: %+v", pkg)
		}
	})
}

func TestFailingBuildIsNotPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := modpipetest.New(t, release, sum, modpipetest.StubError("build (os=windows, arch=amd64)", errors.New("no such file")))
		if status := p.Run(); status != "failed" {
			t.Errorf("the run has %s", status)
		}
		if o := p.Outcome("publish"); o.Status != "dependency_failed" {
			t.Errorf("publish: %v", o)
		}
		if log := p.Log("notify"); !strings.Contains(log, "build (os=windows, arch=amd64): failed: no such file") {
			t.Errorf("notify has logged %q", log)
		}
	})
}

func TestUnknownChannelFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := modpipetest.New(t, release, sum, modpipetest.Param("channel", "beta"))
		if o := p.Outcome("version"); o.Reason != `no channel is called "beta"` || p.Attempts("version") != 1 {
			t.Errorf("version: %v after %d attempts", o, p.Attempts("version"))
		}
	})
}
