package modpipe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/modpipe/modpipe/pipeline"
)

// Cache takes the result of an earlier attempt instead of running the module,
// when nothing differs on which the result depends: the program's digest or the
// Version, the values and artifacts that the module reads, the required
// platform and tools, and what is named here. A cached module requires an OS and
// an Arch, or is Portable. Where modpipe makes the attempt's directory, only
// the Inputs and consumed artifacts are in it.
type Cache struct {
	Inputs   []string // globs below the workspace, of files that the result depends on; nil = of none
	Key      []string // further texts that the result depends on
	Portable bool     // the result serves on every OS and Arch
}

func (c Cache) apply(m *module) {
	cache := &pipeline.Cache{Inputs: append([]string{}, c.Inputs...), Portable: c.Portable}
	for _, k := range c.Key {
		cache.Key = append(cache.Key, pipeline.Text{{Literal: k}})
	}
	m.node.Cache = cache
}

// Version stands for the code of a cached Go module. Without it, every build
// of the program makes new results; with it, the author changes the version
// when the function gives other results.
func Version(v string) Option {
	at := caller()
	return option(func(m *module) {
		if strings.TrimSpace(v) == "" {
			m.b.fault(at, `write a version, such as "v1"`, "%s: the version is empty", m.name)
		}
		if m.exec != nil && m.exec.command != nil {
			m.b.fault(at, "write it into the Key of its Cache", "%s: Version is for Go functions, and this is a command", m.name)
		}
		m.version = v
	})
}

// CacheDir is a directory that is kept between attempts, also on other
// machines: what a tool has downloaded or compiled. Exactly one of Path and Env
// is set. Several add up.
type CacheDir struct {
	Name       string
	Path       string   // below the workspace
	Env        string   // elsewhere: the variable that holds its path; a Go function finds it by os.Getenv only in a process of its own
	Key        string   // names what is kept; a directory with the same key is restored
	HashFiles  []string // globs below the workspace: a digest of the files is appended to Key
	Restore    []string // when nothing has the key: the newest whose key begins with one of these
	ReadOnly   bool     // restore only
	FailOnMiss bool     // the module fails when nothing is restored
}

func (c CacheDir) apply(m *module) {
	dir := pipeline.CacheDir{
		Name: c.Name, Path: c.Path, Env: c.Env, Key: c.Key, Restore: slices.Clone(c.Restore),
		ReadOnly: c.ReadOnly, FailOnMiss: c.FailOnMiss,
	}
	if len(c.HashFiles) > 0 {
		text := pipeline.Text{{Expr: hashFiles(c.HashFiles)}}
		if c.Key != "" {
			text = append(pipeline.Text{{Literal: c.Key}}, text...)
		}
		dir.Key = text.String()
		m.node.Late = append(m.node.Late, pipeline.Late{Place: "cache-dirs." + c.Name + ".key", Text: text})
	}
	m.node.CacheDirs = append(m.node.CacheDirs, dir)
}

// hashFiles is the expression that is the digest of files.
func hashFiles(globs []string) string {
	words := make([]string, len(globs))
	for i, glob := range globs {
		words[i] = fmt.Sprintf("%q", glob)
	}
	return "hashFiles(" + strings.Join(words, ", ") + ")"
}
