package worker

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/secrets"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
)

// Config configures a worker. The zero value is a worker with a random name, as many
// slots as CPUs, and the tools that are on PATH.
type Config struct {
	Group      string            // [A-Za-z0-9_-]{1,64}; "" = the default group. Workers of a group share credentials
	Name       string            // in the group, [A-Za-z0-9_-]{1,64}; "" = host name and a random suffix
	Slots      int               // attempts at the same time; 0 = number of CPUs
	Tags       []string          // words; case does not count
	Tools      []string          // added to what is found on PATH, "name" or "name=version"
	OnlyTools  []string          // not nil: replaces what is found on PATH
	Labels     map[string]string // case does not count
	Workspace  string            // where commands run; "" = a directory for each attempt, with the files of its run
	Repository string            // of the files in Workspace: runs of other ones do not come here; "" = any may
	Copy       workspace.Copy    // of Workspace; nil = the files there are those of every run
	Files      workspace.Files   // of attempts; the worker closes it when Run ends; nil = modules that find or leave files fail here
	PassEnv    []string          // names or patterns of its own environment that modules may ask for
	PassAll    bool              // the embedded worker: modules may ask for anything
	// WorkerTTL is the time after which this worker expects a silent worker to be lost. It
	// warns when the registry has another one. 0 = any.
	WorkerTTL    time.Duration
	DrainTimeout time.Duration // 0 = 30 s
	ExitWhenIdle bool          // Run drains the worker when it has had no attempt for 2 s
	Version      string        // of the program, for lists of workers
	// Secrets are those that this worker has itself, for modules that take them from
	// their worker; nil = none.
	Secrets   *secrets.Source
	Functions call.Program // of the program that the worker is part of; nil = it executes commands only
	Began     func()       // called by Run when it is registered and takes jobs; may be nil
	Logger    *slog.Logger // nil = discard
	// Alone reports whether no other process has joined the server, which is in this
	// one: then a lapsed lease ends nothing. nil = others may have joined.
	Alone func() bool
}

// allowed are the names and patterns of variables that modules may ask for.
func (c Config) allowed() []string {
	if c.PassAll {
		return []string{"*"}
	}
	return c.PassEnv
}

// Validate reports all faults of the configuration together; New calls it too.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Name != "" && !jobs.ValidID(c.Name) {
		fault("name: %q: want 1 to 64 of A-Z a-z 0-9 _ -", c.Name)
	}
	if c.Group != "" && !jobs.ValidID(c.Group) {
		fault("group: %q: want 1 to 64 of A-Z a-z 0-9 _ -", c.Group)
	}
	if c.Slots < 0 {
		fault("slots: %d is negative", c.Slots)
	}
	for _, t := range c.Tags {
		if strings.TrimSpace(t) == "" {
			fault("tags: an empty tag")
		}
	}
	for name := range c.Labels {
		if strings.TrimSpace(name) == "" {
			fault("labels: a label without a name")
		}
	}
	for _, t := range slices.Concat(c.Tools, c.OnlyTools) {
		faults = append(faults, toolFault(t))
	}
	for _, p := range c.PassEnv {
		faults = append(faults, patternFault(p))
	}
	if c.DrainTimeout < 0 {
		fault("drain-timeout: %v is negative", c.DrainTimeout)
	}
	if err := workspace.Check(c.Workspace); err != nil {
		fault("workspace: %w", err)
	}
	return errors.Join(faults...)
}

var toolForm = regexp.MustCompile(`^[^\s=/]+(=[0-9]+(\.[0-9]+)*)?$`)

func toolFault(tool string) error {
	if toolForm.MatchString(tool) {
		return nil
	}
	return fmt.Errorf("tools: %q: want NAME or NAME=VERSION, the version a dotted number", tool)
}

func patternFault(pattern string) error {
	if _, err := path.Match(pattern, "X"); err != nil || pattern == "" {
		return fmt.Errorf("pass-env: %q is no pattern", pattern)
	}
	return nil
}

// filled returns the configuration with its defaults. Its Name is the full name.
func (c Config) filled() Config {
	c.Name = jobs.WorkerName(c.Group, cmp.Or(c.Name, ident.OnHost()))
	if dir, err := filepath.Abs(c.Workspace); err == nil && c.Workspace != "" {
		c.Workspace = dir
	}
	c.Slots = cmp.Or(c.Slots, machine.CPUs())
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 30*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
