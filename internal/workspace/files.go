package workspace

import (
	"context"
	"io/fs"

	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
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
	// Found is what the attempt finds.
	Found() Found
	// Collect stores the artifacts that the attempt leaves when it has ended so. An
	// artifact with a secret of m in it is not stored, and a *mask.FoundError.
	Collect(ctx context.Context, ended report.AttemptStatus, m *mask.Masker) ([]jobs.Artifact, error)
	// CollectDirs stores the cache directories of an attempt that has succeeded. Nothing
	// depends on them: what could not be stored is a warning. A directory with a secret
	// of m in it is not stored, and a *mask.FoundError.
	CollectDirs(ctx context.Context, m *mask.Masker) (stored []jobs.StoredDir, warnings []string, err error)
	// Gone says that nothing of the attempt is left: no process, and no function.
	// Close may then keep the directory for another attempt.
	Gone()
	// Close removes a directory that was made for the attempt.
	Close() error
}

// Found is what an attempt finds.
type Found struct {
	Dir       string              // the directory itself
	Hermetic  bool                // only what the module declares is in it
	Variables []pipeline.KeyValue // with the paths of cache directories
	Artifacts Artifacts           // that a function opens
	Warnings  []string
	// Unkept are the names of cache directories below the workspace of a worker, where
	// they are neither restored nor stored.
	Unkept []string
	// Faithful is set for an attempt in the workspace of a worker that found the inputs
	// which its module declares as the snapshot of the run has them. It reports whether
	// they are still so. Nil = they were not, or nothing is declared.
	Faithful func(ctx context.Context) bool
}

// Artifacts opens the artifacts that a function consumes as values, until the
// Directory is closed. need is the declared name of a need. The error of an artifact
// that was not left is fs.ErrNotExist.
type Artifacts interface {
	// Open returns the files. A file is fetched when it is opened.
	Open(ctx context.Context, need, name string) (fs.FS, error)
	// Unpack writes the files below dir, which it creates.
	Unpack(ctx context.Context, need, name, dir string) error
}
