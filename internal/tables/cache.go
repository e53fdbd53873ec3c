package tables

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/fingerprint"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/report"
)

// CacheRow is a cached result, or a cache directory, as -o json has it.
type CacheRow struct {
	Namespace    string     `json:"namespace"`
	Fingerprint  string     `json:"fingerprint,omitempty"` // of a result
	Directory    string     `json:"directory,omitempty"`   // the name of a cache directory
	Key          string     `json:"key,omitempty"`         // likewise
	Pipeline     string     `json:"pipeline,omitempty"`    // of a result
	Module       string     `json:"module"`
	Run          jobs.RunID `json:"run"` // that stored it
	By           string     `json:"by,omitempty"`
	Worker       string     `json:"worker,omitempty"`
	When         time.Time  `json:"when"`
	Used         time.Time  `json:"used"` // last, by the day
	Took         float64    `json:"took"` // seconds
	Artifacts    int        `json:"artifacts"`
	Bytes        int64      `json:"bytes"` // of the artifacts
	Hermetic     bool       `json:"hermetic"`
	Place        string     `json:"place,omitempty"`   // where alone it is valid
	Differs      string     `json:"differs,omitempty"` // it is not reproducible
	ToolVersions any        `json:"tools,omitempty"`
}

// NewCacheRow describes an entry of the cache.
func NewCacheRow(e *kv.StoredEntry) CacheRow {
	row := CacheRow{
		Namespace: e.Namespace, Fingerprint: e.Fingerprint, Pipeline: e.Pipeline, Module: e.Module, Run: e.Run, By: e.By, Worker: e.Worker,
		When: e.When, Used: e.Used, Took: e.Took.Seconds(), Artifacts: len(e.Artifacts), Hermetic: e.Hermetic, Place: e.Place, Differs: e.Differs,
	}
	if len(e.Tools) > 0 {
		row.ToolVersions = e.Tools
	}
	for _, x := range e.Artifacts {
		row.Bytes += x.Tree.Bytes
	}
	return row
}

// NewCacheRows describes what the cache holds, the least recently used first.
func NewCacheRows(results []kv.StoredEntry, dirs []kv.DirEntry) []CacheRow {
	rows := make([]CacheRow, 0, len(results)+len(dirs))
	for i := range results {
		rows = append(rows, NewCacheRow(&results[i]))
	}
	for _, d := range dirs {
		rows = append(rows, CacheRow{
			Namespace: d.Namespace, Directory: d.Name, Key: d.Key, Module: d.Module, Run: d.Run, When: d.When, Used: d.Used, Bytes: d.Tree.Bytes,
		})
	}
	slices.SortStableFunc(rows, func(a, b CacheRow) int { return a.Used.Compare(b.Used) })
	return rows
}

// name is how a row is called where each has one line: results are unique by it.
func (r *CacheRow) name() string {
	if r.Fingerprint != "" {
		return r.Namespace + "." + r.Fingerprint
	}
	return r.Namespace + "/" + r.Directory + "/" + r.Key
}

// WriteCacheNames writes a line for each row.
func WriteCacheNames(w io.Writer, rows []CacheRow) {
	for i := range rows {
		console.Writeln(w, safetext.Line(rows[i].name()))
	}
}

// WriteCacheRows writes the tables of `cache list`: results, and then directories.
func WriteCacheRows(w io.Writer, rows []CacheRow) {
	results := console.Table{Head: []string{"NAMESPACE", "FINGERPRINT", "PIPELINE", "MODULE", "RUN", "STORED", "USED", "FILES"}}
	dirs := console.Table{Head: []string{"NAMESPACE", "DIRECTORY", "KEY", "MODULE", "RUN", "STORED", "USED", "SIZE"}}
	some := false
	for i := range rows {
		r := &rows[i]
		stored, used := r.When.Format(time.RFC3339), r.Used.Format(time.DateOnly)
		if r.Fingerprint == "" {
			some = true
			dirs.Add(r.Namespace, r.Directory, r.Key, r.Module, string(r.Run), stored, used, phrase.Bytes(r.Bytes))
			continue
		}
		results.Add(r.Namespace, r.Fingerprint[:min(12, len(r.Fingerprint))], r.Pipeline, r.Module, string(r.Run), stored, used, phrase.Count(r.Artifacts, "artifact"))
	}
	results.Write(w)
	if some {
		console.Writeln(w, "")
		dirs.Write(w)
	}
}

// PrunedText says what `cache prune` has removed.
func PrunedText(n kv.Pruned) string {
	text := "removed " + phrase.Count(n.Results, "cached result")
	switch n.Dirs {
	case 0:
		return text
	case 1:
		return text + " and 1 cache directory"
	}
	return fmt.Sprintf("%s and %d cache directories", text, n.Dirs)
}

// CacheUse is the answer of `cache explain` as -o json has it.
type CacheUse struct {
	Run     jobs.RunID         `json:"run"`
	Module  string             `json:"module"`
	Status  report.Status      `json:"status"`
	Hit     *report.CachedFrom `json:"hit,omitempty"`
	Entry   *CacheRow          `json:"entry,omitempty"`   // of its result
	Nearest *CacheRow          `json:"nearest,omitempty"` // the entry that differs least
	Differs []CacheDifference  `json:"differs,omitempty"`
	Files   []string           `json:"files,omitempty"` // "+ path", "- path", "~ path"
}

// CacheDifference is a part of a fingerprint that differs.
type CacheDifference struct {
	Part string `json:"part"`
	Item string `json:"item,omitempty"`
	Kind string `json:"kind"`
}

// Write writes it for people.
func (v *CacheUse) Write(w io.Writer) {
	say := func(format string, args ...any) { console.Writeln(w, safetext.Line(fmt.Sprintf(format, args...))) }
	if h := v.Hit; h != nil {
		say("%s of run %s took the result of %s of run %s, which was stored %s by %s (namespace %s)",
			v.Module, v.Run, h.Module, h.Run, h.When.Format(time.RFC3339), cmp.Or(h.By, "an unknown user"), h.Namespace)
		say("fingerprint %s", h.Fingerprint)
		writeTools(say, v.Entry)
		return
	}
	say("%s of run %s %s", v.Module, v.Run, v.Status)
	if v.Entry == nil {
		say("no result of it is stored: it has not succeeded, the run stores none, its attempt found files that it does not declare, or the entry was removed")
		return
	}
	say("its result is stored with fingerprint %s (namespace %s)", v.Entry.Fingerprint, v.Entry.Namespace)
	writeTools(say, v.Entry)
	if v.Nearest == nil {
		say("no other result of this module is stored")
		return
	}
	say("the nearest other result is that of run %s, stored %s; it differs in:", v.Nearest.Run, v.Nearest.When.Format(time.RFC3339))
	for _, d := range v.Differs {
		if d.Part == "inputs" && d.Item == "files" && len(v.Files) > 0 {
			continue
		}
		say("  %s", differenceText(d))
	}
	for _, f := range v.Files {
		say("  input file %s", f)
	}
}

func writeTools(say func(string, ...any), e *CacheRow) {
	if e == nil {
		return
	}
	if e.ToolVersions != nil {
		say("its worker had %v", e.ToolVersions)
	}
	if e.Differs != "" {
		say("it is not reproducible: an attempt with the same fingerprint has left other %s", e.Differs)
	}
	if e.Place != "" {
		say("it is valid in %s only: its attempt found files that it does not declare", e.Place)
	}
}

func differenceText(d CacheDifference) string {
	text := d.Part
	if d.Item != "" {
		text += " " + d.Item
	}
	if d.Kind != string(fingerprint.Changed) {
		text += " (" + d.Kind + ")"
	}
	return text
}
