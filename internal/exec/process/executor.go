package process

import (
	"log/slog"

	"github.com/modpipe/modpipe/internal/workspace"
)

// Config configures an Executor.
type Config struct {
	Workspace *workspace.Source // where commands run
	PassEnv   []string          // names or patterns of this program's environment that modules may ask for
	PassAll   bool              // modules may ask for any of it
	Keep      int               // directories of ended attempts that are kept for others
	Logger    *slog.Logger      // required
}

// Executor executes modules as processes of this machine. It is safe for
// concurrent use between Open and Close.
type Executor struct {
	log       *slog.Logger
	workspace *workspace.Source
	environ   []string // of this program
	home      home
	allow     allowance
	guard     *guard  // nil = none
	spares    *spares // nil = none
}

// New creates an Executor. Commands run without a guard until Open.
func New(cfg Config) *Executor {
	return &Executor{
		log: cfg.Logger, workspace: cfg.Workspace, environ: ownEnvironment(),
		allow: allowance{all: cfg.PassAll, patterns: cfg.PassEnv}, spares: &spares{most: cfg.Keep},
	}
}

// Open finds a home directory for commands and starts the guard. It logs what
// fails, because commands run without either.
func (x *Executor) Open() {
	var warning string
	if x.home, warning = newHome(x.environ); warning != "" {
		x.log.Warn(warning)
	}
	g, err := newGuard(x.log)
	if err != nil {
		x.log.Warn("no guard: modules would outlive this worker if it is killed", "error", err)
		return
	}
	x.guard = g
}

// Close ends the guard, which kills the commands that still run, and removes
// what Open and ended attempts have left.
func (x *Executor) Close() {
	x.spares.remove()
	x.home.remove()
	x.guard.close()
}

// Bare is an Executor of the same configuration without a guard and without
// kept directories: it creates everything that an attempt needs.
func (x *Executor) Bare() *Executor {
	bare := *x
	bare.guard, bare.spares = nil, nil
	return &bare
}
