//go:build !linux

package reuse

import (
	"context"
	"runtime"
	"time"

	"github.com/modpipe/modpipe/internal/tree"
)

// Mark is what a directory was like when it held a tree exactly.
type Mark struct{}

// Take refuses: only on Linux is it certain that every change shows.
func Take(context.Context, string, *tree.Tree) (*Mark, error) {
	return nil, refuse("it is not known whether %s shows every change", runtime.GOOS)
}

// Restore refuses.
func (*Mark) Restore(context.Context, string, *tree.Tree, tree.Content, time.Time) (*Mark, Stats, error) {
	return nil, Stats{}, refuse("it is not known whether %s shows every change", runtime.GOOS)
}
