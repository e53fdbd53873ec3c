package snapshot

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

var errNoGit = errors.New("the program git is not on the PATH")

// kept are the variables of the caller that git still sees. All other variables
// of git are dropped: a hook's GIT_DIR or GIT_INDEX_FILE would name another
// repository.
var kept = []string{
	"GIT_CONFIG_GLOBAL=", "GIT_CONFIG_SYSTEM=", "GIT_CONFIG_NOSYSTEM=",
	"GIT_CONFIG_COUNT=", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_", // how containers set safe.directory
	"GIT_EXEC_PATH=", "GIT_CEILING_DIRECTORIES=", "GIT_DISCOVERY_ACROSS_FILESYSTEM=",
	"GIT_TEST_ASSUME_DIFFERENT_OWNER=",
}

// environ returns the environment of git, made of the caller's.
func environ(caller []string) []string {
	var env []string
	for _, v := range caller {
		known := func(prefix string) bool { return strings.HasPrefix(v, prefix) }
		if !strings.HasPrefix(v, "GIT_") || slices.ContainsFunc(kept, known) {
			env = append(env, v)
		}
	}
	return append(env, "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "GIT_NO_REPLACE_OBJECTS=1",
		"GIT_PAGER=cat", "LC_ALL=C", "LANGUAGE=C")
}

// command returns git with args in dir. Standard input is empty.
func command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	settings := []string{
		"--no-pager", "-c", "core.quotePath=false", "-c", "core.fsmonitor=false",
		"-c", "core.hooksPath=" + os.DevNull, "-c", "advice.detachedHead=false",
	}
	cmd := exec.CommandContext(ctx, "git", append(settings, args...)...)
	cmd.Dir, cmd.Env = dir, environ(os.Environ())
	return cmd
}

// run runs git and returns what it prints, which the caller knows to be short.
func run(ctx context.Context, dir string, args ...string) (string, error) {
	var out bytes.Buffer
	err := stream(ctx, dir, nil, func(r io.Reader) error {
		_, err := io.Copy(&out, r)
		return err
	}, args...)
	return strings.TrimSuffix(out.String(), "\n"), err
}

// list runs git and calls each with every text that it prints before a NUL.
func list(ctx context.Context, dir string, stdin io.Reader, each func(string) error, args ...string) error {
	return stream(ctx, dir, stdin, func(r io.Reader) error { return split(r, each) }, args...)
}

func split(r io.Reader, each func(string) error) error {
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		s, err := br.ReadString(0)
		if errors.Is(err, io.EOF) {
			if s != "" {
				return fmt.Errorf("git's output ends within %.80q", s)
			}
			return nil
		}
		if err == nil {
			err = each(s[:len(s)-1])
		}
		if err != nil {
			return err
		}
	}
}

// stream runs git, and lets read read what it prints. If read fails, git is
// ended, and its error counts.
func stream(ctx context.Context, dir string, stdin io.Reader, read func(io.Reader) error, args ...string) error {
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := command(own, dir, args...)
	stderr := &tail{}
	cmd.Stderr, cmd.Stdin = stderr, stdin
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return explain(dir, args, err, "")
	}
	rerr := read(out)
	if rerr != nil {
		cancel()
	}
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case rerr != nil:
		return rerr
	case err != nil:
		return explain(dir, args, err, stderr.String())
	}
	return nil
}

// explain returns the error of a git command in words that help.
func explain(dir string, args []string, err error, stderr string) error {
	stderr = strings.TrimSpace(stderr)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return errNoGit
	case strings.Contains(stderr, "dubious ownership"), strings.Contains(stderr, "is owned by someone else"):
		return fmt.Errorf("git refuses the repository of %s, because it is owned by another user: "+
			"to trust it, run: git config --global --add safe.directory %s", dir, quote(owned(dir, stderr)))
	}
	if missing(dir) {
		return fmt.Errorf("git in %s: the directory does not exist any more", dir)
	}
	if stderr == "" {
		stderr = err.Error()
	}
	return &gitError{args: args, dir: dir, text: stderr, err: err}
}

// owned returns the directory that git names in its refusal, else dir.
func owned(dir, stderr string) string {
	if _, after, ok := strings.Cut(stderr, "safe.directory "); ok {
		name, _, _ := strings.Cut(after, "\n")
		return strings.Trim(name, "'")
	}
	return dir
}

// quote returns s as one word of a shell.
func quote(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t\n'\"\\$`&|;<>()*?[]#~!{}") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func missing(dir string) bool {
	_, err := os.Stat(dir)
	return errors.Is(err, os.ErrNotExist)
}

// gitError is a command of git that failed.
type gitError struct {
	args []string
	dir  string
	text string // what git printed on its standard error
	err  error
}

func (e *gitError) Error() string {
	return fmt.Sprintf("git %s in %s: %s", e.args[0], e.dir, e.text)
}

func (e *gitError) Unwrap() error { return e.err }

// tail keeps the last 4 KiB that are written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - 4<<10; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.b) }

// place is a directory in a git repository.
type place struct {
	prefix string // from the top of the work tree to the directory: "" or "a/b/"
	bare   bool
}

// locate asks git about dir; ok tells whether it is in a repository at all.
func locate(ctx context.Context, dir string) (p place, ok bool, err error) {
	// The prefix comes last, because it may contain newlines.
	out, err := run(ctx, dir, "rev-parse", "--is-inside-work-tree", "--is-bare-repository", "--show-prefix")
	var refused *gitError
	switch {
	case errors.As(err, &refused) && strings.Contains(refused.text, "not a git repository") && !marked(dir):
		return place{}, false, nil
	case errors.Is(err, errNoGit) && !marked(dir):
		return place{}, false, nil
	case errors.Is(err, errNoGit):
		return place{}, false, fmt.Errorf("%s is in a git work tree, and %w", dir, err)
	case err != nil:
		return place{}, false, err
	}
	parts := strings.SplitN(out+"\n", "\n", 3)
	if len(parts) < 3 {
		return place{}, false, fmt.Errorf("git rev-parse in %s: unexpected answer %.80q", dir, out)
	}
	inside, bare := parts[0] == "true", parts[1] == "true"
	if !inside { // a bare repository, or inside .git
		return place{bare: bare}, true, nil
	}
	return place{prefix: strings.TrimSuffix(parts[2], "\n")}, true, nil
}

// marked reports whether dir or a directory above it has a .git.
func marked(dir string) bool {
	for {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return true
		}
		above := filepath.Dir(dir)
		if above == dir {
			return false
		}
		dir = above
	}
}
