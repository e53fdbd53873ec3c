package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/modpipe/modpipe/internal/snapshot"
	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
)

// SnapshotTaken describes the files that a run takes along, for the person who runs it.
type SnapshotTaken struct {
	Line     string   // what was taken, from where, and how much of it was sent
	Warnings []string // a sentence each
}

// snapshotTries is how often the files of a workspace are taken again that
// change while they are sent.
const snapshotTries = 3

// Snapshot takes the files of a workspace, stores them, and names them in the
// specification. repository overrides which repository they belong to; "" = as
// the workspace says. The specification is not submitted. The error is a RefusedError
// when the files cannot be taken, and another one when they cannot be stored.
func (c *Client) Snapshot(ctx context.Context, spec *jobs.Spec, o snapshot.Options, repository string) (SnapshotTaken, error) {
	for try := 1; ; try++ {
		taken, err := c.snapshot(ctx, spec, o, repository)
		if !errors.Is(err, snapshot.ErrChanged) || try == snapshotTries {
			return taken, err
		}
	}
}

func (c *Client) snapshot(ctx context.Context, spec *jobs.Spec, o snapshot.Options, repository string) (SnapshotTaken, error) {
	taken, err := snapshot.Take(ctx, o)
	if err != nil && ctx.Err() == nil {
		err = &RefusedError{err}
	}
	if err != nil {
		return SnapshotTaken{}, err
	}
	defer taken.Close() //nolint:errcheck // its temporary files are of no use any more
	now := time.Now().UTC().Truncate(time.Second)
	ref, sent, err := c.push(ctx, spec.Cache, taken, taken.Tree, now)
	if err != nil {
		return SnapshotTaken{}, fmt.Errorf("send the files of the workspace: %w", err)
	}
	s := &jobs.Snapshot{Tree: ref, Commit: taken.Commit, Dirty: taken.Dirty}
	if taken.Git != nil {
		git, _, err := c.push(ctx, spec.Cache, taken, taken.Git, now)
		if err != nil {
			return SnapshotTaken{}, fmt.Errorf("send the history of the workspace: %w", err)
		}
		s.Git = &git
	}
	spec.Workspace, spec.Commit, spec.Repository = s, taken.Commit, ""
	if taken.Files() > 0 {
		if spec.Repository = repository; repository == "" {
			if spec.Repository, err = snapshot.Identity(ctx, o.Dir); err != nil {
				return SnapshotTaken{}, err
			}
		}
	}
	return SnapshotTaken{
		Line:     taken.Describe(&snapshot.Sent{Files: sent.MovedFiles, Bytes: sent.MovedBytes}),
		Warnings: taken.Warnings,
	}, nil
}

// push stores a tree in the namespace of a run.
func (c *Client) push(ctx context.Context, policy jobs.CachePolicy, from *snapshot.Result, t *tree.Tree, now time.Time) (jobs.Tree, transfer.Stats, error) {
	store, err := c.conn.Files.In(policy.Writes(), policy.From...)
	if err != nil {
		return jobs.Tree{}, transfer.Stats{}, err
	}
	open := func(f tree.File) (io.ReadCloser, error) { return from.Open(f) }
	return transfer.Push(ctx, store, t, open, now)
}
