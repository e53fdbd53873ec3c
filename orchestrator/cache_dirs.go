package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/schedule"
)

// mostTried bounds how many entries of one beginning are read for a directory: the
// files of an entry may be gone.
const mostTried = 20

// findDirs looks up from what the cache directories of a job are restored.
func (l *loop) findDirs(ctx context.Context, a schedule.FindDirs) {
	err := l.cache.findDirs(ctx, a.Job)
	if err != nil && ctx.Err() == nil {
		l.cfg.Logger.Info("looking up cache directories failed", "module", a.Job.Name, "error", err)
	}
	l.answer(ctx, func() { l.dispatcher.DirsFound(a, err) })
}

// opening returns when the bucket is open, or why it will not be.
func (k *cache) opening(ctx context.Context) error {
	switch {
	case !k.open(ctx):
		return context.Cause(ctx)
	case k.bucket == nil:
		return errors.New("this orchestrator may not use the bucket of the cache")
	}
	return nil
}

func (k *cache) findDirs(ctx context.Context, job *jobs.Job) error {
	if err := k.opening(ctx); err != nil {
		return err
	}
	var errs []error
	for i := range job.Files.CacheDirs {
		c := &job.Files.CacheDirs[i]
		e, err := k.findDir(ctx, c)
		if err != nil {
			errs = append(errs, fmt.Errorf("cache directory %s: %w", c.Name, err))
		}
		if e != nil {
			c.Found, c.Tree = e.Key, e.Tree
		}
	}
	return errors.Join(errs...)
}

// findDir returns the entry with the key of a directory, or else the newest one whose
// key begins as one of Restore; nil = no entry. Errors are those of entries that
// are of no use.
func (k *cache) findDir(ctx context.Context, c *jobs.CacheDir) (*kv.DirEntry, error) {
	var errs []error
	try := func(namespace, key string) *kv.DirEntry {
		e, err := k.dir(ctx, namespace, c.Name, key)
		if err == nil {
			return &e
		}
		if !errors.Is(err, broker.ErrNotFound) {
			errs = append(errs, fmt.Errorf("the entry of %q: %w", key, err))
		}
		return nil
	}
	for _, namespace := range k.reads {
		if e := try(namespace, c.Key); e != nil {
			return e, nil
		}
	}
	for _, prefix := range c.Restore {
		for _, namespace := range k.reads {
			x, err := k.bucket.DirIndex(ctx, namespace, c.Name)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			keys := x.Matching(prefix)
			for _, key := range keys[:min(len(keys), mostTried)] {
				if e := try(namespace, key); e != nil {
					return e, nil
				}
			}
		}
	}
	return nil, errors.Join(errs...)
}

// dir reads an entry whose files are there, and extends its life.
func (k *cache) dir(ctx context.Context, namespace, name, key string) (kv.DirEntry, error) {
	e, err := k.bucket.Dir(ctx, namespace, name, key)
	if err != nil {
		return e, err
	}
	if !isTree(e.Tree) {
		return e, errors.New("it names no tree")
	}
	complete, err := k.files.keep(ctx, e.Tree)
	if err == nil && !complete {
		err = errors.New("its files are gone")
	}
	if err != nil {
		return e, err
	}
	k.renewDir(ctx, e)
	return e, nil
}

// renewDir keeps an entry that was used.
func (k *cache) renewDir(ctx context.Context, e kv.DirEntry) {
	if !k.renews(e.Namespace) {
		return
	}
	ctx, stop := context.WithTimeout(ctx, renewPatience)
	defer stop()
	if err := k.bucket.RenewDir(ctx, e, time.Now()); err != nil {
		k.notRenewed(e.Namespace, e.Name+" "+e.Key, err)
	}
}

// isTree reports whether t can name a stored tree.
func isTree(t jobs.Tree) bool {
	return isDigest(t.Root) && isDigest(t.Manifest) && t.Files >= 0 && t.Bytes >= 0 && jobs.ValidNamespace(t.Namespace)
}

// keepDirs records the directories that an attempt has stored. Nothing depends on
// that: a failure is logged.
func (l *loop) keepDirs(ctx context.Context, a schedule.KeepDirs) {
	storing, stop := context.WithTimeout(ctx, storePatience)
	defer stop()
	if err := l.cache.keepDirs(storing, l.state.Spec(), a); err != nil && ctx.Err() == nil {
		l.cfg.Logger.Warn("recording a cache directory failed; the run does not depend on it", "module", a.Module.Name, "error", err)
	}
	l.answer(ctx, l.dispatcher.DirsKept)
}

func (k *cache) keepDirs(ctx context.Context, spec *jobs.Spec, a schedule.KeepDirs) error {
	if err := k.opening(ctx); err != nil {
		return err
	}
	var errs []error
	for _, d := range a.Dirs {
		declared, err := k.declared(a.Module, d)
		if err == nil {
			err = k.bucket.StoreDir(ctx, k.namespace, &jobs.CacheDirEntry{
				Name: d.Name, Key: d.Key, Run: spec.Run, Module: a.Module.Name, When: d.Tree.Time, Tree: d.Tree,
			}, declared.Restore)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("cache directory %.80s: %w", d.Name, err))
		}
	}
	return errors.Join(errs...)
}

// declared returns the declaration of a directory that a worker reports. It fails for
// what the module may not have stored.
func (k *cache) declared(m *pipeline.Module, d jobs.StoredDir) (*pipeline.CacheDir, error) {
	i := slices.IndexFunc(m.CacheDirs, func(c pipeline.CacheDir) bool { return c.Name == d.Name })
	switch {
	case i < 0:
		return nil, errors.New("the module does not declare it")
	case m.CacheDirs[i].ReadOnly || k.policy.Off || k.policy.NoWrite:
		return nil, errors.New("the module may not store it")
	case len(m.Late) == 0 && m.CacheDirs[i].Key != d.Key:
		return nil, fmt.Errorf("its key is %q, and not %.80q", m.CacheDirs[i].Key, d.Key)
	case !isTree(d.Tree) || d.Tree.Namespace != k.namespace:
		return nil, errors.New("the worker names no tree of the run's namespace")
	}
	return &m.CacheDirs[i], nil
}
