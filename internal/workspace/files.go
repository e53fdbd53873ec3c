package workspace

import (
	"context"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// Files gives attempts their files. Package files implements it.
type Files interface {
	// Prepare makes a directory with the files of an attempt; or, with the
	// workspace of a worker, it puts the artifacts that the attempt consumes
	// there. The caller closes the directory.
	Prepare(ctx context.Context, f *jobs.JobFiles, workspace string) (Directory, error)
	// Close ends the use of what the machine keeps. No directory may be open.
	Close() error
}

// Directory has the files of one attempt.
type Directory interface {
	Path() string
	// Hermetic reports whether only what the module declares is in it.
	Hermetic() bool
	// Collect stores the artifacts that the attempt leaves when it has ended so.
	Collect(ctx context.Context, ended report.AttemptStatus) ([]jobs.Artifact, error)
	// Gone says that nothing of the attempt is left: no process, and no function.
	// Close may then keep the directory for another attempt.
	Gone()
	// Close removes a directory that was made for the attempt.
	Close() error
}
