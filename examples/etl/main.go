// Command etl moves tables from a source into a store: a typed data pipeline
// whose width is known only when it runs. Each table that the source lists is
// extracted, checked and loaded by a member of a family; at most two of them
// read the source at the same time, and what fails for a moment is tried again.
//
//	etl run
//	etl run --param since=72h --param source=orders,users
package main

import (
	"time"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/cli"
)

func main() { cli.Main("etl", etl) }

func etl(p *modpipe.Builder) {
	p.FailSlow = true // one bad table does not keep the others out
	source := modpipe.Param(p, "source", "customers,orders,payments,returns", "tables to move")
	since := modpipe.Param(p, "since", 24*time.Hour, "how far back rows are read")
	limit := modpipe.Param(p, "max-rows", 1000, "rows of a table, at most")

	tables := modpipe.Add(p, "tables", modpipe.Call3(list, source, since, limit), modpipe.Timeout(time.Minute))
	batches := modpipe.Each(p, "extract", tables, extract,
		modpipe.Limit{Name: "source", Max: 2},
		modpipe.Retry{Attempts: 4, Delay: 100 * time.Millisecond, If: temporary},
		modpipe.Requires{CPUs: 1})
	clean := modpipe.Add(p, "clean", modpipe.Call1(clean, batches))
	loaded := modpipe.Add(p, "load", modpipe.Call1(load, clean),
		modpipe.NotInParallel("store"), modpipe.Retry{Attempts: 3, Delay: time.Second})
	modpipe.Add(p, "report", modpipe.Call2(report, modpipe.Optional(loaded), modpipe.Outcomes(p.Added()...)), modpipe.AlwaysRun())
}
