package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/modpipe/modpipe/internal/files"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
)

// Nothing is removed before all works have ended, neither of a work nor of its floor: the
// disk is still busy with a removal when the next measurement begins.

// newDirectory is a part of work C: an attempt's directory of the files of work C, on a worker that
// has their contents. dir is that of work C, and ref its tree.
func (f *filesFigures) newDirectory(dir string, ref jobs.Tree) error {
	row := filesRow{Work: "a new directory of 10,000 files", Floor: "cp -r", Target: "≤ 1"}
	var err error
	if row.FloorSend, err = timed(`cp -r "$1/tree" "$1/copy"`, dir); err != nil {
		return err
	}
	got, err := row.machine(dir, "files", "prepare", jobs.JobFiles{Workspace: &ref})
	row.Send = got.Spent
	row.compare(true)
	f.Rows = append(f.Rows, row)
	return err
}

// cacheDirectories are works G: they are stored on one machine and restored on another.
func (f *filesFigures) cacheDirectories(dir string, scale int) error {
	for _, x := range []struct{ count, size int }{{1_500, 1 << 20}, {50_000, 20 << 10}} {
		sub := filepath.Join(dir, strconv.Itoa(x.count))
		if err := makeFiles(filepath.Join(sub, "tree"), x.count/scale, x.size, false); err != nil {
			return err
		}
		row := filesRow{Work: fmt.Sprintf("a cache directory of %d files, %.1f GB", x.count, float64(x.count*x.size)/1e9), Target: "≤ 3"}
		if err := errors.Join(row.packed(sub), row.cacheDirectory(sub)); err != nil {
			return err
		}
		row.compare(false)
		f.Rows = append(f.Rows, row)
	}
	return nil
}

func (r *filesRow) cacheDirectory(dir string) error {
	kept := jobs.CacheDir{Name: "kept", Env: "KEPT", Key: "k"}
	stored, err := r.machine(dir, "one", "collect", jobs.JobFiles{Namespace: "main", CacheDirs: []jobs.CacheDir{kept}})
	if err != nil {
		return err
	}
	kept.Found, kept.Tree = "k", stored.Ref
	got, err := r.machine(dir, "other", "prepare", jobs.JobFiles{Namespace: "main", CacheDirs: []jobs.CacheDir{kept}})
	r.Send, r.Back, r.SenderMB, r.ReaderMB = stored.Spent, got.Spent, stored.MB, got.MB
	return err
}

// machine plays a machine in a process of its own, beside a server on the store in dir.
func (r *filesRow) machine(dir, store, what string, f jobs.JobFiles) (m moved, err error) {
	var others family
	defer others.kill()
	url, err := others.server(dir)
	if err != nil {
		return m, err
	}
	text, err := json.Marshal(f)
	if err != nil {
		return m, err
	}
	serving := watch(&others)
	err = self(&m, "files-machine", url, filepath.Join(dir, store), what, string(text), filepath.Join(dir, "tree"))
	m.Spent.CPU += serving.read().CPU
	return m, err
}

// filesMachine prepares the files of an attempt, or stores the cache directory that it
// leaves, which is the tree: `files-machine URL STORE prepare|collect FILES TREE`.
func filesMachine(args []string) error {
	ctx := context.Background()
	s, done, err := filesStore(ctx, args[0])
	if err != nil {
		return err
	}
	defer done()
	var f jobs.JobFiles
	if err := json.Unmarshal([]byte(args[3]), &f); err != nil {
		return err
	}
	m := files.New(files.Config{Dir: args[1], Remote: s})
	if _, err := m.Store(ctx); err != nil {
		return err
	}
	var d workspace.Directory
	work := func() error {
		d, err = m.Prepare(ctx, &f, "")
		return err
	}
	var out moved
	if args[2] == "collect" {
		if err := work(); err != nil {
			return err
		}
		kept := d.Found().Variables[0].Value
		if err := errors.Join(os.Remove(kept), os.Rename(args[4], kept)); err != nil {
			return err
		}
		work = func() error {
			stored, warnings, err := d.CollectDirs(ctx, nil)
			if err != nil || len(stored) != 1 {
				return errors.Join(err, fmt.Errorf("it is not stored: %q", warnings))
			}
			out.Ref = stored[0].Tree
			return nil
		}
	}
	stop, err := profile("." + args[2] + strconv.Itoa(len(f.CacheDirs)))
	if err != nil {
		return err
	}
	before, w := peakOf("self"), watch(nil)
	if err := work(); err != nil {
		return err
	}
	out.Spent = w.read()
	out.MB = peakOf("self") - before
	stop()
	return json.NewEncoder(os.Stdout).Encode(out) // the directory stays: see above
}
