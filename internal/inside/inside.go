// Package inside is what workers, the command line and tests do with a
// modpipe.Program and its users do not: those build one and look at its
// graph, these run its functions. The root package says how; its own
// documentation stays that of the users.
package inside

import (
	"context"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/pipeline"
)

// Program is a definition that was built, as who runs attempts sees it.
type Program interface {
	// Identity says which program this is: name, executable and graph. Only a
	// worker of the same takes its jobs.
	Identity() (pipeline.Program, error)
	// Call runs one attempt of a module: the condition, then the function, or
	// what prepares the command. It returns soon when ctx ends.
	Call(ctx context.Context, req call.Request) call.Response
	// Afresh is the same program with a definition that was run for it alone,
	// so that nothing is shared through what functions have captured.
	Afresh() Program
}

// of is set while the root package is initialized, and never again.
var of func(built any) Program

// Register says how to see a *modpipe.Program as a Program.
func Register(f func(built any) Program) struct{} {
	of = f
	return struct{}{}
}

// Of is a *modpipe.Program as a Program; anything else panics.
func Of(built any) Program { return of(built) }
