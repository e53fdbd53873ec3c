package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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

// File is one entry of a tree.
type File struct {
	Path   string // relative, with slashes, clean: "a/b.txt"
	Kind   Kind
	Size   int64  // of the content, in bytes; 0 for directories and links
	Digest Digest // of the content; zero for directories and links
	Target string // of a link, as it was read
}

// Tree is a set of files below one directory.
type Tree struct {
	Files []File // in the order of their paths, byte by byte
}
