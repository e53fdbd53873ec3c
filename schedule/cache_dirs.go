package schedule

import (
	"fmt"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// FindDirs looks up from what the cache directories of a job are restored: the
// caller sets Found and Tree of Job.Files.CacheDirs. Answer with
// Dispatcher.DirsFound, after which the job is published.
type FindDirs struct {
	Node int
	Job  *jobs.Job
}

// KeepDirs records cache directories that an attempt has stored, so that later ones
// find them. Answer with Dispatcher.DirsKept.
type KeepDirs struct {
	Module *pipeline.Module
	Dirs   []jobs.StoredDir // as the worker reports them
}

func (FindDirs) action() {}
func (KeepDirs) action() {}

// cacheDirs are the cache directories of a job.
func (r *Run) cacheDirs(of []pipeline.CacheDir) []jobs.CacheDir {
	var dirs []jobs.CacheDir
	for _, c := range of {
		dirs = append(dirs, jobs.CacheDir{
			Name: c.Name, Path: c.Path, Env: c.Env, Key: c.Key, Restore: c.Restore,
			ReadOnly: c.ReadOnly || r.spec.Cache.Off || r.spec.Cache.NoWrite, FailOnMiss: c.FailOnMiss,
		})
	}
	return dirs
}

// restoresNothing reports whether cache directories are empty in this run.
func (r *Run) restoresNothing() bool { return r.spec.Cache.Off || r.spec.Cache.NoRead }

// findDirs reports whether the job waits for its cache directories to be looked up.
func (d *Dispatcher) findDirs(n *node, job *jobs.Job) bool {
	if job.Files == nil || len(job.Files.CacheDirs) == 0 || d.run.restoresNothing() {
		return false
	}
	d.memo(n.index).fetching = true
	f := FindDirs{Node: n.index, Job: job}
	if d.cache.keeping > 0 { // by a module that it needs, perhaps
		d.cache.finding = append(d.cache.finding, f)
		return true
	}
	d.do(f)
	return true
}

// DirsFound answers FindDirs. An error means that nothing was found: no directory is
// needed, unless its module says so.
func (d *Dispatcher) DirsFound(f FindDirs, err error) {
	n := d.run.nodes[f.Node]
	if !d.awaits(n, Fetch{Node: f.Node, attempt: f.Job.Attempt, purpose: forJob}) {
		return
	}
	m := d.memo(f.Node)
	m.fetching = false
	if n.cell != f.Job.Fence { // a record of the cell has made the job outdated: it is built again
		m.published = false
		d.run.changed = append(d.run.changed, n.index)
		return
	}
	d.sendJob(n, f.Job, err)
}

// missing returns why the attempt of a job may not start without one of its cache
// directories. off says that the run restores none, and found why none was found.
func missing(job *jobs.Job, off bool, found error) error {
	if job.Files == nil {
		return nil
	}
	for _, c := range job.Files.CacheDirs {
		if !c.FailOnMiss || c.Found != "" {
			continue
		}
		if off {
			return fmt.Errorf("cache directory %s: nothing is restored in this run, by its --cache, and fail-on-miss is set", c.Name)
		}
		err := fmt.Errorf("cache directory %s: nothing is stored under the key %q, and fail-on-miss is set", c.Name, c.Key)
		if len(c.Restore) > 0 {
			err = fmt.Errorf("cache directory %s: nothing is stored under the key %q or one that begins with %q, and fail-on-miss is set", c.Name, c.Key, c.Restore)
		}
		if found != nil {
			err = fmt.Errorf("%w: %w", err, found)
		}
		return err
	}
	return nil
}

// keepDirs has the directories recorded that the last attempt of n has stored.
func (d *Dispatcher) keepDirs(n *node, m *memo) {
	if n.last == nil || n.last.Attempt != m.attempt || n.last.Status != report.AttemptSucceeded || len(n.last.CacheDirs) == 0 {
		return
	}
	d.cache.asked++
	d.cache.keeping++
	d.do(KeepDirs{Module: n.module, Dirs: n.last.CacheDirs})
}

// DirsKept answers KeepDirs. What was searched for in the meantime is looked up now: a
// module finds what those have stored that it needs.
func (d *Dispatcher) DirsKept() {
	c := &d.cache
	c.asked--
	c.keeping--
	if c.keeping > 0 {
		return
	}
	for _, f := range c.finding {
		d.do(f)
	}
	c.finding = nil
}
