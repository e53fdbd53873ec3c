package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Digest is a SHA-256, of the content of a file or of the encoding of a node.
type Digest [sha256.Size]byte

// String returns the digest in hex.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ParseDigest parses what String returns.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if len(s) != hex.EncodedLen(len(d)) {
		return d, fmt.Errorf("%.80q is not a SHA-256 in hex", s)
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return d, fmt.Errorf("%.80q is not a SHA-256 in hex: %w", s, err)
	}
	return d, nil
}

// Kind says what is at a path.
type Kind uint8

// The kinds.
const (
	Regular    Kind = iota // a file with mode 0644
	Executable             // a file with mode 0755
	Directory              // an empty directory: others follow from the paths in them
	Link                   // a symbolic link
)

var kindNames = [...]string{Regular: "file", Executable: "executable file", Directory: "directory", Link: "link"}

// String returns the kind in words, for messages.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// File is one entry of a tree.
type File struct {
	Path   string // relative, with slashes, clean: "a/b.txt"
	Kind   Kind
	Size   int64  // of the content, in bytes; 0 for directories and links
	Digest Digest // of the content; zero for directories and links
	Target string // of a link, as it was read
}

// HasContent reports whether the file has content in a store.
func (f File) HasContent() bool { return f.Kind == Regular || f.Kind == Executable }

// Tree is a set of files below one directory. It never changes: New creates it,
// and no caller writes to Files.
type Tree struct {
	Files []File // in the order of their paths, byte by byte
}

// Len returns the number of entries: files, links and empty directories.
func (t *Tree) Len() int { return len(t.Files) }

// Size returns the sum of the sizes of all files, in bytes.
func (t *Tree) Size() int64 {
	var sum int64
	for i := range t.Files {
		sum += t.Files[i].Size
	}
	return sum
}

// Find returns the entry at a path, if there is one.
func (t *Tree) Find(path string) (File, bool) {
	if i, ok := search(t.Files, path); ok {
		return t.Files[i], true
	}
	return File{}, false
}

func search(files []File, path string) (int, bool) {
	return slices.BinarySearchFunc(files, path, func(f File, path string) int { return strings.Compare(f.Path, path) })
}

// New checks the files, sorts them, and returns the tree that holds them. It
// keeps the slice. An entry for a directory that is not empty is left out, since
// the paths in it say the same.
//
// An error names the path: one that is not relative, clean, UTF-8 and within the
// limits, a second entry of the same path, a path below a file or a link, or a
// link whose target leads outside the tree.
func New(files []File) (*Tree, error) {
	for i := range files {
		if err := files[i].check(); err != nil {
			return nil, err
		}
	}
	byPath := func(a, b File) int { return strings.Compare(a.Path, b.Path) }
	if !slices.IsSortedFunc(files, byPath) {
		slices.SortFunc(files, byPath)
	}
	for i := 1; i < len(files); i++ {
		if files[i].Path == files[i-1].Path {
			return nil, fmt.Errorf("%q is in the tree twice", files[i].Path)
		}
	}
	filled, err := filledDirectories(files)
	if err != nil {
		return nil, err
	}
	if len(filled) > 0 {
		files = slices.DeleteFunc(files, func(f File) bool { return f.Kind == Directory && filled[f.Path] })
	}
	return &Tree{Files: files}, nil
}

// filledDirectories returns the entries for directories that have files below
// them. A file below a file or a link is an error.
func filledDirectories(files []File) (map[string]bool, error) {
	filled := map[string]bool{}
	last := ""
	for i := range files {
		dir := parent(files[i].Path)
		if dir == last {
			continue
		}
		last = dir
		for up := dir; up != ""; up = parent(up) {
			at, ok := search(files, up)
			switch {
			case !ok:
			case files[at].Kind == Directory:
				filled[up] = true
			default:
				return nil, fmt.Errorf("%q is below %q, which is a %s", files[i].Path, up, files[at].Kind)
			}
		}
	}
	return filled, nil
}

// parent returns the directory of a path, and "" for the root.
func parent(path string) string {
	return path[:max(strings.LastIndexByte(path, '/'), 0)]
}

// under joins a directory, which is "" for the root, and a path below it.
func under(dir, path string) string {
	if dir == "" {
		return path
	}
	return dir + "/" + path
}
