package worker

import (
	"context"
	"fmt"

	"github.com/modpipe/modpipe/jobs"
)

// Detect returns what this machine offers, with all tools on PATH. Versions are those
// that cfg declares: no tool is run.
func Detect(_ context.Context, cfg Config) (jobs.Capabilities, error) {
	if err := cfg.Validate(); err != nil {
		return jobs.Capabilities{}, fmt.Errorf("worker: %w", err)
	}
	program, err := cfg.program()
	if err != nil {
		return jobs.Capabilities{}, err
	}
	t := newToolbox(cfg, program)
	c := t.base()
	c.Tools = t.all()
	return c, nil
}
