package filestore

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/internal/tree"
)

// child names the environment variable that turns the test binary into another
// user of a store: what it does, and in which directory.
const child = "FILESTORE_TEST_CHILD"

func TestMain(m *testing.M) {
	what, dir, is := strings.Cut(os.Getenv(child), ":")
	if !is {
		os.Exit(m.Run())
	}
	if err := children[what](context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var children = map[string]func(ctx context.Context, dir string) error{
	"churn": churn, "flood": flood, "hold": hold,
}

const churnLimit = 256 << 10

func churnText(i int) string { return strings.Repeat(strconv.Itoa(i), 3000+100*i) }

// churn adds, pins and reads content of a store that is far too small for it, in
// which others do the same.
func churn(ctx context.Context, dir string) error {
	s, err := Open(ctx, dir, churnLimit)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for range 4 {
		group.Go(func() error {
			for range 40 {
				if err := churnOnce(ctx, s); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return errors.Join(group.Wait(), s.Close())
}

func churnOnce(ctx context.Context, s *Store) error {
	p := s.Pin()
	var texts []string
	for range 4 {
		text := churnText(rand.IntN(60))
		texts = append(texts, text)
		if err := p.Add(ctx, digest(text)); err != nil {
			return err
		}
	}
	for _, text := range texts {
		if !s.Has(digest(text)) {
			if err := s.Add(ctx, digest(text), strings.NewReader(text)); err != nil {
				return err
			}
		}
	}
	for _, text := range texts { // pinned content stays while others add
		r, err := s.Open(ctx, digest(text))
		if err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
		if string(b) != text {
			return fmt.Errorf("read %d bytes in place of %d", len(b), len(text))
		}
	}
	return p.Release()
}

// flood adds new content without end, and reports each.
func flood(ctx context.Context, dir string) error {
	s, err := Open(ctx, dir, 0)
	if err != nil {
		return err
	}
	p := s.Pin()
	for i := 0; ; i++ {
		text := strings.Repeat(fmt.Sprintf("%d/%d ", os.Getpid(), i), 20000)
		if err := p.Add(ctx, digest(text)); err != nil {
			return err
		}
		if err := s.Add(ctx, digest(text), strings.NewReader(text)); err != nil {
			return err
		}
		if err := s.PutRecord(ctx, "flood", text[:20], []byte(text)); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

// hold pins content until it is killed.
func hold(ctx context.Context, dir string) error {
	s, err := Open(ctx, dir, churnLimit)
	if err != nil {
		return err
	}
	if err := s.Pin().Add(ctx, digest(churnText(0))); err != nil {
		return err
	}
	fmt.Println("pinned")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func command(t *testing.T, what, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), child+"="+what+":"+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// start starts a child and returns its output; kill ends it by its process id.
func start(t *testing.T, what, dir string) (out *bufio.Scanner, kill func()) {
	t.Helper()
	cmd := command(t, what, dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return bufio.NewScanner(stdout), func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // it was killed
	}
}

func TestProcessesShareAStore(t *testing.T) {
	dir := t.TempDir()
	group, ctx := errgroup.WithContext(t.Context())
	for range 2 {
		cmd := command(t, "churn", dir)
		group.Go(cmd.Run)
	}
	group.Go(func() error { return churn(ctx, dir) })
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, churnLimit)
	if err := s.Trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	total := checkComplete(t, s)
	u, known, err := s.readUsage()
	if err != nil || !known || u.used != total || total > churnLimit {
		t.Errorf("the usage is %d (known %v), %d of %d bytes are on disk: %v", u.used, known, total, churnLimit, err)
	}
}

// checkComplete reads every file of a store, and returns what they take on disk.
func checkComplete(t *testing.T, s *Store) int64 {
	t.Helper()
	var total int64
	err := filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		part, _, _ := strings.Cut(strings.TrimPrefix(path, s.dir+string(filepath.Separator)), string(filepath.Separator))
		if part != contentDir && part != recordDir {
			return nil
		}
		b, err := os.ReadFile(path)
		total += cost(int64(len(b)))
		if part == contentDir && tree.Digest(sha256.Sum256(b)).String() != e.Name() {
			t.Errorf("%s has other content", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

func TestKilledWriterLeavesCompleteFilesOnly(t *testing.T) {
	dir := t.TempDir()
	for round := range 6 {
		out, kill := start(t, "flood", dir)
		for range 1 + 3*round {
			if !out.Scan() {
				t.Fatal("the child has ended")
			}
		}
		kill()
		s := open(t, dir, 0)
		users, err := os.ReadDir(filepath.Join(dir, usersDir))
		if err != nil || len(users) != 1 {
			t.Errorf("the unfinished files of a dead process are left: %v, %v", users, err)
		}
		total := checkComplete(t, s)
		if u, known, err := s.readUsage(); err != nil || known && u.used < total {
			t.Errorf("the usage is %d, and %d is on disk (%v)", u.used, total, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestPinOfAnotherProcessLastsAsLongAsTheProcess(t *testing.T) {
	dir := t.TempDir()
	out, kill := start(t, "hold", dir)
	if !out.Scan() {
		t.Fatal("the child has ended")
	}
	s := open(t, dir, churnLimit)
	held := add(t, s, churnText(0))
	fill := func() {
		for i := range 60 {
			add(t, s, churnText(i+1))
		}
	}
	fill()
	if !s.Has(held) {
		t.Error("content that another process pins was evicted")
	}
	kill()
	fill()
	if s.Has(held) {
		t.Error("content that a dead process pinned was not evicted")
	}
}
