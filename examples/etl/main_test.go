package main

import (
	"strings"
	"testing"
	"time"

	"github.com/modpipe/modpipe/modpipetest"
)

func TestEveryTableIsLoaded(t *testing.T) {
	p := modpipetest.New(t, etl)
	if status := p.Run(); status != "succeeded" {
		t.Fatalf("the run has %s: %s", status, p.Report().Error)
	}
	if got := modpipetest.Result[Loaded](p, "load"); len(got) != 4 || got["orders"] != 51 {
		t.Errorf("loaded %v", got)
	}
	if got := modpipetest.Result[string](p, "report"); got != "256 rows of 4 tables" {
		t.Errorf("report: %s", got)
	}
}

func TestABusySourceIsAskedAgain(t *testing.T) {
	p := modpipetest.New(t, etl, modpipetest.Param("source", "orders"))
	if n := p.Attempts("extract (item=orders)"); n != 2 {
		t.Errorf("%d attempts", n)
	}
}

func TestAMissingTableFailsAtOnce(t *testing.T) {
	p := modpipetest.New(t, etl, modpipetest.Param("source", "users,missing"))
	if o := p.Outcome("extract (item=missing)"); o.Status != "failed" || p.Attempts("extract (item=missing)") != 1 {
		t.Errorf("%v after %d attempts", o, p.Attempts("extract (item=missing)"))
	}
	if b := modpipetest.Result[Batch](p, "extract (item=users)"); b.Table != "users" {
		t.Errorf("the other table: %v", b)
	}
	if o := p.Outcome("load"); o.Status != "dependency_failed" {
		t.Errorf("load: %v", o)
	}
	if got := modpipetest.Result[string](p, "report"); got != "nothing was loaded" {
		t.Errorf("report: %s", got)
	}
}

func TestNothingToMove(t *testing.T) {
	p := modpipetest.New(t, etl, modpipetest.Param("source", " "))
	for _, m := range []string{"tables", "extract", "clean", "load"} {
		if o := p.Outcome(m); o.Status != "skipped" || !strings.Contains(o.Reason, "there is no table to move") {
			t.Errorf("%v", o)
		}
	}
}

func TestParametersReachTheSource(t *testing.T) {
	p := modpipetest.New(t, etl, modpipetest.Param("source", "a"), modpipetest.Param("since", "72h"), modpipetest.Param("max-rows", "3"))
	tables := modpipetest.Result[[]Table](p, "tables")
	if want := (Table{"a", 72 * time.Hour, 3}); len(tables) != 1 || tables[0] != want {
		t.Errorf("%v", tables)
	}
	if b := modpipetest.Result[Batch](p, "extract (item=a)"); len(b.Rows) != 3 {
		t.Errorf("%d rows", len(b.Rows))
	}
}
