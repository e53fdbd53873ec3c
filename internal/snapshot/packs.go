package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	perPack  = 128      // objects or commits of a pack, on average
	packSize = 16 << 20 // bytes of contents after which a pack ends anyway
	packLife = 14 * 24 * time.Hour
)

// group is what one pack contains.
type group struct {
	input string // what git pack-objects reads: objects, or revisions
	revs  bool
}

// key names the group: equal keys give equal packs.
func (g group) key() string {
	sum := sha256.Sum256([]byte(fmt.Sprint(g.revs, "\n", g.input)))
	return hex.EncodeToString(sum[:])
}

// objects writes the packs.
func (h *history) objects(ctx context.Context, tags []tag) error {
	groups, err := h.groups(ctx, tags)
	if err != nil {
		return err
	}
	p, err := h.packer()
	if err != nil {
		return err
	}
	all, gctx := errgroup.WithContext(ctx)
	all.SetLimit(runtime.GOMAXPROCS(0))
	for _, g := range groups {
		all.Go(func() error { return p.pack(gctx, g) })
	}
	if err := all.Wait(); err != nil {
		return err
	}
	return p.clean()
}

func (h *history) groups(ctx context.Context, tags []tag) ([]group, error) {
	if !h.full {
		return h.treeGroups(ctx, tags)
	}
	return h.lineGroups(ctx, tags)
}

// treeGroups cuts the objects of one commit.
func (h *history) treeGroups(ctx context.Context, tags []tag) ([]group, error) {
	top, err := run(ctx, h.t.Dir, "rev-parse", h.t.Commit+"^{tree}")
	if err != nil {
		return nil, err
	}
	var trees, blobs cutter
	seen := map[string]bool{top: true}
	err = list(ctx, h.t.Dir, nil, func(line string) error {
		about, _, _ := strings.Cut(line, "\t")
		fields := strings.Fields(about)
		if len(fields) != 4 {
			return fmt.Errorf("git ls-tree in %s: unexpected line %.80q", h.t.Dir, line)
		}
		if kind, oid := fields[1], fields[2]; !seen[oid] && kind != "commit" {
			seen[oid] = true
			if kind == "tree" {
				trees.add(oid, 0)
				return nil
			}
			var size int64
			_, err := fmt.Sscan(fields[3], &size)
			blobs.add(oid, size)
			return err
		}
		return nil
	}, "ls-tree", "-r", "-t", "-l", "-z", "--full-tree", h.t.Commit)
	if err != nil {
		return nil, err
	}
	last := []string{h.t.Commit, top}
	for _, t := range tags {
		if t.peeled != "" {
			last = append(last, t.oid)
		}
	}
	return append(append(trees.end(), blobs.end()...), group{input: strings.Join(last, "\n") + "\n"}), nil
}

// cutter cuts a sequence of objects where their digests decide.
type cutter struct {
	groups []group
	open   strings.Builder
	size   int64
}

func (c *cutter) add(oid string, size int64) {
	c.open.WriteString(oid + "\n")
	if c.size += size; cuts(oid) || c.size > packSize {
		c.end()
	}
}

func (c *cutter) end() []group {
	if c.open.Len() > 0 {
		c.groups = append(c.groups, group{input: c.open.String()})
	}
	c.open.Reset()
	c.size = 0
	return c.groups
}

// cuts reports whether a pack ends with this object, which one of perPack does.
func cuts(oid string) bool {
	var n uint32
	_, err := fmt.Sscanf(oid[:8], "%08x", &n)
	return err == nil && n%perPack == 0
}

// lineGroups cuts the line of first parents, and adds what only tags reach.
func (h *history) lineGroups(ctx context.Context, tags []tag) ([]group, error) {
	out, err := run(ctx, h.t.Dir, "rev-list", "--first-parent", "--reverse", h.t.Commit)
	if err != nil {
		return nil, err
	}
	var groups []group
	without := ""
	for oid := range strings.FieldsSeq(out) {
		if cuts(oid) || oid == h.t.Commit {
			groups = append(groups, group{input: oid + "\n" + without, revs: true})
			without = "^" + oid + "\n"
		}
	}
	var more strings.Builder
	for _, t := range tags {
		more.WriteString(t.oid + "\n")
	}
	if more.Len() > 0 {
		groups = append(groups, group{input: more.String() + without, revs: true})
	}
	return groups, nil
}

// packer creates packs, or finds those of earlier snapshots.
type packer struct {
	h      *history
	repo   string // a git directory whose objects/pack receives packs
	groups string // the directory of files that name the pack of a group; "" = none is kept
}

func (h *history) packer() (*packer, error) {
	if h.t.IndexDir == "" {
		return &packer{h: h, repo: h.dir}, nil
	}
	sum := sha256.Sum256([]byte(h.t.Dir))
	repo := filepath.Join(h.t.IndexDir, hex.EncodeToString(sum[:16])+".git")
	for _, d := range []string{"refs", "objects/pack", "groups"} {
		if err := os.MkdirAll(filepath.Join(repo, filepath.FromSlash(d)), 0o700); err != nil {
			return nil, err
		}
	}
	config, err := os.ReadFile(filepath.Join(h.dir, "config"))
	if err != nil {
		return nil, err
	}
	return &packer{h: h, repo: repo, groups: filepath.Join(repo, "groups")}, errors.Join(
		os.WriteFile(filepath.Join(repo, "HEAD"), []byte("ref: refs/heads/none\n"), 0o600),
		os.WriteFile(filepath.Join(repo, "config"), config, 0o600))
}

// pack puts the pack of a group into the new .git.
func (p *packer) pack(ctx context.Context, g group) error {
	key := g.key()
	if name, ok := p.known(key); ok && p.place(name) == nil {
		return nil
	}
	name, err := p.create(ctx, g)
	if err != nil || name == "" || p.groups == "" {
		return err
	}
	if err := os.WriteFile(filepath.Join(p.groups, key), []byte(name), 0o600); err != nil {
		return err
	}
	return p.place(name)
}

// known returns the pack of a group that an earlier snapshot needed.
func (p *packer) known(key string) (string, bool) {
	if p.groups == "" {
		return "", false
	}
	file := filepath.Join(p.groups, key)
	name, err := os.ReadFile(file)
	if err != nil || !packName(string(name)) {
		return "", false
	}
	now := time.Now()
	_ = os.Chtimes(file, now, now) // it only prolongs its life
	return string(name), true
}

func packName(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) >= 40
}

// place links or copies the files of a pack into the new .git.
func (p *packer) place(name string) error {
	for _, ext := range []string{".pack", ".idx"} {
		file := filepath.Join("objects", "pack", "pack-"+name+ext)
		if err := copyFile(filepath.Join(p.repo, file), filepath.Join(p.h.dir, file)); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) (err error) {
	if err := os.Link(from, to); err == nil || errors.Is(err, os.ErrExist) {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was only read
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// create lets git pack a group, and returns the name of the pack; "" = it would
// be empty.
func (p *packer) create(ctx context.Context, g group) (string, error) {
	args := []string{
		"-c", "pack.threads=1", "-c", "core.bigFileThreshold=512m", "-c", "pack.packSizeLimit=0", "-c", "pack.useBitmaps=false",
		"pack-objects", "--stdout", "--quiet", "--delta-base-offset", "--no-reuse-delta", "--no-reuse-object",
		"--compression=6", "--depth=50", "--window-memory=0",
	}
	if g.revs {
		args = append(args, "--revs", "--window=10", "--sparse")
	} else {
		args = append(args, "--window=0")
	}
	name := ""
	err := stream(ctx, p.h.t.Dir, strings.NewReader(g.input), func(r io.Reader) error {
		// "pack\t<name>", which index-pack prints when everything is on the disk.
		return stream(ctx, p.repo, r, func(r io.Reader) error {
			out, err := io.ReadAll(io.LimitReader(r, 1<<10))
			_, name, _ = strings.Cut(strings.TrimSpace(string(out)), "\t")
			return err
		}, "--git-dir=.", "-c", "pack.writeReverseIndex=false", "-c", "pack.indexVersion=2", "-c", "fsck.skipList=", "index-pack", "--stdin")
	}, args...)
	if err == nil && !packName(name) {
		err = fmt.Errorf("git index-pack: unexpected answer %.80q", name)
	}
	return name, err
}

// clean removes packs that no snapshot needed for two weeks.
func (p *packer) clean() error {
	if p.groups == "" {
		return nil
	}
	entries, err := os.ReadDir(p.groups)
	if err != nil {
		return err
	}
	used, old := map[string]bool{}, map[string][]string{}
	for _, e := range entries {
		file := filepath.Join(p.groups, e.Name())
		name, err := os.ReadFile(file)
		info, ierr := e.Info()
		switch {
		case err != nil || ierr != nil: // another process has removed it
		case time.Since(info.ModTime()) > packLife:
			old[string(name)] = append(old[string(name)], file)
		default:
			used[string(name)] = true
		}
	}
	for name, files := range old {
		for _, f := range files {
			_ = os.Remove(f) // the next snapshot tries again
		}
		for _, ext := range []string{".pack", ".idx"} {
			if !used[name] && packName(name) {
				_ = os.Remove(filepath.Join(p.repo, "objects", "pack", "pack-"+name+ext))
			}
		}
	}
	return nil
}
