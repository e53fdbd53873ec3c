package snapshot

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/pipeline"
)

const (
	mostUntracked    = 100_000         // files that git does not track; with more, nothing is compared
	untrackedTimeout = 3 * time.Second // of one list of them
	mostNamed        = 10              // files in a warning
)

// Untracked lists the files of a workspace that git does not track, also those that
// it ignores, sorted. It returns nil where the comparison of two such lists says
// nothing: outside git, without git, and with more than 100,000 files or more than
// three seconds.
func Untracked(ctx context.Context, dir string) []string {
	ctx, cancel := context.WithTimeout(ctx, untrackedTimeout)
	defer cancel()
	found := []string{}
	err := list(ctx, dir, nil, func(name string) error {
		if found = append(found, name); len(found) > mostUntracked {
			return errTooManyUntracked
		}
		return nil
	}, "ls-files", "-z", "--others")
	if err != nil {
		return nil
	}
	slices.Sort(found)
	return found
}

var errTooManyUntracked = errors.New("too many files")

// Declared says which files the modules of a pipeline may create in the workspace
// without being missed elsewhere: the artifacts that they produce, and those that are
// restored.
type Declared struct {
	patterns tree.Patterns
	unknown  bool // the paths of what is restored from other runs are not known
}

// unresolved is a part of a text that becomes known while the run goes on.
var unresolved = regexp.MustCompile(`\$\{\{.*?\}\}`)

// DeclaredBy returns what the modules of a pipeline declare. A store that lies in the
// workspace counts too.
func DeclaredBy(p *pipeline.Pipeline, workspace, store string) Declared {
	var d Declared
	var globs []string
	for _, m := range p.Modules {
		for _, a := range m.Produce {
			globs = append(globs, a.Paths...)
		}
		for _, c := range m.Consume {
			switch {
			case c.To != "":
				globs = append(globs, c.To)
			case c.FromRun != nil && !c.Open:
				d.unknown = true
			}
		}
	}
	if rel, err := filepath.Rel(workspace, store); err == nil && filepath.IsLocal(rel) {
		globs = append(globs, filepath.ToSlash(rel))
	}
	for i := range globs {
		globs[i] = unresolved.ReplaceAllString(globs[i], "*")
	}
	// What one artifact excludes, another may contain.
	globs = slices.DeleteFunc(globs, func(g string) bool { return strings.HasPrefix(g, "!") })
	var err error
	if d.patterns, err = tree.ParsePatterns(globs); err != nil {
		d.unknown = true
	}
	return d
}

// Created returns the warning about files that modules created in the workspace and
// no artifact declares: untracked files that are in the second list and not in the
// first one. It names ten, and directories instead of files if there are more. It
// is "" if no file was created, or a list is nil.
func (d Declared) Created(before, after []string) string {
	if before == nil || after == nil || d.unknown {
		return ""
	}
	var fresh []string
	for _, p := range after {
		if _, old := slices.BinarySearch(before, p); !old && !d.patterns.Match(strings.TrimSuffix(p, "/")) {
			fresh = append(fresh, p)
		}
	}
	if len(fresh) == 0 {
		return ""
	}
	names := fresh
	if len(fresh) > mostNamed {
		names = tops(fresh)
	}
	more := ""
	if n := len(names) - mostNamed; n > 0 {
		names, more = names[:mostNamed], ", …"
	}
	return fmt.Sprintf("modules created %s in the workspace that no artifact declares, and that would be missing on other machines: %s%s; "+
		"name them under `produce` where another module needs them", fileCount(len(fresh)), strings.Join(quoted(names), ", "), more)
}

// tops puts files below one directory at the top together.
func tops(files []string) []string {
	var names []string
	for i := 0; i < len(files); {
		top, _, below := strings.Cut(files[i], "/")
		n := 1
		for below && i+n < len(files) && strings.HasPrefix(files[i+n], top+"/") {
			n++
		}
		if n == 1 {
			names = append(names, files[i])
		} else {
			names = append(names, path.Join(top, fmt.Sprintf("… (%s)", fileCount(n))))
		}
		i += n
	}
	return names
}

func quoted(names []string) []string {
	shown := make([]string, len(names))
	for i, n := range names {
		if shown[i] = n; strings.ContainsFunc(n, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			shown[i] = fmt.Sprintf("%q", n)
		}
	}
	return shown
}
