// Package modpipe makes pipelines in Go. A module is a function. Its
// result travels to the modules that read it, on any machine.
//
// # A pipeline
//
// A definition is a func(*Builder). It adds modules and hands values from one
// to the next:
//
//	func main() { cli.Main("release", release) }
//
//	func release(p *modpipe.Builder) {
//		src := modpipe.Add(p, "checkout", modpipe.Call(checkout))
//		ver := modpipe.Add(p, "version", modpipe.Call1(readVersion, src))
//		modpipe.Add(p, "publish", modpipe.Call2(publish, src, ver),
//			modpipe.Retry{Attempts: 3}, modpipe.Timeout(10*time.Minute))
//	}
//
//	func checkout(ctx context.Context) (Source, error)
//	func readVersion(ctx context.Context, s Source) (Version, error)
//	func publish(ctx context.Context, s Source, v Version) (struct{}, error)
//
// The functions are ordinary: they can be called and tested without modpipe. A
// [Value] cannot be read while the graph is built, only passed on. So the needs of a
// module follow from the arguments of its function, and the compiler checks the
// types. Two modules without a value between them run at the same time.
//
// [All] gathers values (fan-in), [Map] takes a part of one, [Optional] and
// [Outcomes] are for modules that may have no result, [Param] is a
// parameter of the run, [Each] runs a function once for each element of a list
// that a module has returned. [Command] starts a process instead of a function.
//
// # Policy
//
// Options follow the executor: [If], [After], [AlwaysRun], [IgnoreFailure],
// [Timeout], [NotInParallel], [NotInParallelInCluster], [Retry], [Requires],
// [Limit] and [Info]. The error of a function decides how the module goes on:
// [Permanent], [RetryAfter], [Skip]. A panic fails the module, with its stack, and is not
// tried again unless Retry.Panics is set. When an attempt times out or is
// cancelled, its context is; a function that goes on past the grace is
// abandoned, and reported as not respecting its context.
//
// # Running it
//
// cli.Main makes the program's whole command line: run, plan, graph, and
// worker, which runs modules for other machines. Without a NATS server,
// everything runs in the one process. Package modpipetest runs a pipeline
// under go test, in memory, in milliseconds.
//
// # What a definition may not do
//
// It runs in every process that has to do with the pipeline, and its functions
// are found by their modules' names. So it makes the same graph every time: it
// reads no flags, no environment, no clock, and does not follow the order of a
// map. [Build] runs it twice and compares; a worker whose definition makes
// another graph is refused by name. A function that is a closure sees what the
// definition has captured (the data of a loop), but not what another module
// has put there: that one ran on another machine. Tests and run --isolated
// show this, because there each attempt has its own run of the definition.
//
// Results travel as msgpack, encoded as soon as a function has returned, here
// too. A type that would lose something on the way (an unexported field, a
// channel, a function, an interface) is a fault when the pipeline is built.
//
// # Files
//
// [Builder.Include] adds the modules of a pipeline file. They may need modules
// of the definition, read their results as needs.NAME.result, and name
// functions by uses: go:NAME ([Function]); [Builder.Outputs] is what a file's
// command sets, as a Value.
package modpipe
