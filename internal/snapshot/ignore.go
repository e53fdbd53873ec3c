package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// IgnoreFile is the name of the file beside the pipeline file that removes files
// from snapshots.
const IgnoreFile = ".modpipeignore"

const maxIgnoreFile = 1 << 20 // bytes

// ignored returns the paths in the snapshot that .modpipeignore excludes.
func (t *taking) ignored(ctx context.Context) (map[string]bool, error) {
	var all []string
	if t.rev != nil {
		all = t.rev.paths()
	}
	for _, s := range t.sources {
		for _, p := range s.paths {
			all = append(all, path.Join(s.at, p))
		}
	}
	return t.ignoredOf(ctx, all)
}

func (t *taking) ignoredOf(ctx context.Context, paths []string) (map[string]bool, error) {
	if t.File == "" || len(paths) == 0 {
		return nil, nil
	}
	name := filepath.Join(filepath.Dir(t.File), IgnoreFile)
	rules, err := readIgnore(name)
	if err != nil || !someRule(rules) {
		return nil, err
	}
	found, err := checkIgnore(ctx, t.Temporary, rules, paths)
	if errors.Is(err, errNoGit) {
		return nil, fmt.Errorf("%s: git applies its rules, and the program git is not on the PATH: install git, or use workspace.exclude", name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return found, nil
}

func readIgnore(name string) ([]byte, error) {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	rules, err := io.ReadAll(io.LimitReader(f, maxIgnoreFile+1))
	if err == nil && len(rules) > maxIgnoreFile {
		err = fmt.Errorf("%s is larger than 1 MiB", name)
	}
	return rules, err
}

func someRule(rules []byte) bool {
	for line := range bytes.Lines(rules) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return true
		}
	}
	return false
}

// checkIgnore asks git, in an empty repository whose only rules are these, which
// paths it would ignore.
func checkIgnore(ctx context.Context, temporary string, rules []byte, paths []string) (found map[string]bool, err error) {
	dir, err := os.MkdirTemp(temporary, "modpipe-ignore-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := emptyRepository(dir, rules); err != nil {
		return nil, err
	}
	found = map[string]bool{}
	// "./" keeps git from reading the name ":(top)x" as a pattern.
	err = list(ctx, dir, strings.NewReader("./"+strings.Join(paths, "\x00./")+"\x00"), func(p string) error {
		found[strings.TrimPrefix(p, "./")] = true
		return nil
	}, "--git-dir=.git", "-c", "core.excludesFile="+os.DevNull, "-c", "core.ignoreCase=false",
		"check-ignore", "--no-index", "-z", "--stdin")
	var failed *exec.ExitError
	if errors.As(err, &failed) && failed.ExitCode() == 1 { // none is ignored
		err = nil
	}
	return found, err
}

// emptyRepository makes dir a git repository with rules. `git init` would copy
// the user's template, and cost a process.
func emptyRepository(dir string, rules []byte) error {
	for _, d := range []string{"objects", "refs", "info"} {
		if err := os.MkdirAll(filepath.Join(dir, ".git", d), 0o755); err != nil {
			return err
		}
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, ".git", "HEAD"), []byte("ref: refs/heads/main\n"), 0o644),
		os.WriteFile(filepath.Join(dir, ".git", "config"), []byte("[core]\n\trepositoryformatversion = 0\n\tbare = false\n"), 0o644),
		os.WriteFile(filepath.Join(dir, ".git", "info", "exclude"), rules, 0o644),
	)
}
