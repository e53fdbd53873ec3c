// Command release builds, packages and publishes a program for several
// platforms. It is one binary: the pipeline, its orchestrator and its workers.
//
//	release run                                  here
//	release run --param channel=stable
//	release worker --server nats://nats:4222     on each machine that helps
//	release run --server nats://nats:4222        and then on those
package main

import (
	"fmt"
	"time"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/cli"
)

func main() { cli.Main("release", release) }

// targets are what is built: the matrix.
var targets = []Target{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "arm64"}, {"windows", "amd64"}}

const shards = 3

// release is the definition: it runs in every process that has to do with the
// pipeline, and always makes the same graph.
func release(p *modpipe.Builder) {
	p.Deadline = time.Hour
	channel := modpipe.Param(p, "channel", "dev", "release channel: dev or stable")
	branch := modpipe.Param(p, "branch", "main", "the branch that is checked out")

	co := modpipe.Add(p, "checkout", modpipe.Call1(checkout, branch), modpipe.Retry{Attempts: 3, Delay: time.Second})
	ver := modpipe.Add(p, "version", modpipe.Call2(readVersion, co, channel))
	lint := modpipe.Add(p, "lint", modpipe.Call1(lint, co), modpipe.IgnoreFailure())

	var bins []modpipe.Value[Binary]
	for _, t := range targets {
		bins = append(bins, modpipe.Add(p, fmt.Sprintf("build (os=%s, arch=%s)", t.OS, t.Arch), modpipe.Call1(t.build, ver),
			modpipe.Timeout(10*time.Minute)))
	}
	var tests []modpipe.Value[TestReport]
	for i := range shards {
		tests = append(tests, modpipe.Add(p, fmt.Sprintf("test (shard=%d)", i), modpipe.Call1(Shard(i).test, co),
			modpipe.Limit{Name: "database", Max: 2}))
	}
	tested := modpipe.Add(p, "tested", modpipe.Call1(sumUp, modpipe.All(tests...)))

	pkg := modpipe.Add(p, "package", modpipe.Call3(pack, ver, modpipe.All(bins...), modpipe.Optional(lint)), modpipe.After(tested))
	sum := modpipe.Add(p, "checksum", modpipe.Command{
		Run:   `echo "sum=$(cksum | cut -d' ' -f1)" >> "$MODPIPE_OUTPUT"`,
		Stdin: modpipe.Map(pkg, Package.bytes),
	})
	rel := modpipe.Add(p, "publish", modpipe.Call2(publish, pkg, sum),
		modpipe.If(modpipe.Map(co, Checkout.onMain), "only main is published"),
		modpipe.NotInParallel("registry"), modpipe.Retry{Attempts: 5, Delay: time.Second})
	modpipe.Add(p, "notify", modpipe.Call2(notify, modpipe.Outcomes(p.Added()...), modpipe.Optional(rel)), modpipe.AlwaysRun())
}
