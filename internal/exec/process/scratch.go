package process

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"

	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/workspace"
)

// scratch has the private files of an attempt: its TMPDIR, the two files by which it
// exchanges outputs and needs, and its workspace where the worker has none. They are
// removed when the attempt has ended.
type scratch struct {
	spares    *spares // may be nil
	root      string
	workspace string
	cleanup   func() error // of the workspace
	tmp       string
	output    string
	needs     string
}

// newScratch creates the files of an attempt, and its workspace unless dir is one.
func newScratch(ctx context.Context, source *workspace.Source, dir string, needs []byte, from *spares) (*scratch, error) {
	root := filepath.Join(os.TempDir(), "modpipe-"+rand.Text()[:13])
	s := &scratch{
		spares:  from,
		root:    root,
		tmp:     filepath.Join(root, tmpName),
		output:  filepath.Join(root, outputName),
		needs:   filepath.Join(root, needsName),
		cleanup: func() error { return nil },
	}
	if err := s.fill(needs); err != nil {
		_ = s.remove() // the cause of the error prevents this too
		return nil, machine.Errorf("create a directory for the attempt in %s: %w", os.TempDir(), machine.WithoutPath(err))
	}
	if dir != "" {
		s.workspace = dir
		return s, nil
	}
	dir, cleanup, err := source.Prepare(ctx, workspace.Request{Within: root})
	if err != nil {
		_ = s.remove() // the error that counts is the first
		return nil, err
	}
	s.workspace, s.cleanup = dir, cleanup
	return s, nil
}

const (
	tmpName    = "tmp"
	outputName = "output"
	needsName  = "needs.json"
	lineName   = "line"
)

func (s *scratch) fill(needs []byte) error {
	kept := s.spares.take(s.root)
	if !kept {
		if err := os.Mkdir(s.root, 0o700); err != nil {
			return err
		}
		if err := os.Mkdir(s.tmp, 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(s.output, nil, 0o600); err != nil {
		return err
	}
	if have, err := os.ReadFile(s.needs); kept && err == nil && bytes.Equal(have, needs) {
		return nil // ext4 takes a millisecond to replace the content of a file
	}
	return os.WriteFile(s.needs, needs, 0o600)
}

// save writes a text to a private file of the attempt.
func (s *scratch) save(name, text string) (string, error) {
	path := filepath.Join(s.root, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", machine.Errorf("write a file for the attempt in %s: %w", os.TempDir(), machine.WithoutPath(err))
	}
	return path, nil
}

// remove removes everything, including directories that the attempt has made
// read-only.
func (s *scratch) remove() error {
	return errors.Join(s.cleanup(), workspace.Remove(s.root))
}

// leave keeps the directories for another attempt when the attempt has added
// nothing to them, and removes them otherwise. No process of the attempt may be
// left, because it would know them.
func (s *scratch) leave() error {
	if err := s.cleanup(); err != nil || !s.spares.put(s.root) {
		return errors.Join(err, workspace.Remove(s.root))
	}
	return nil
}
