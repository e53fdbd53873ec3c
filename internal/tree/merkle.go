package tree

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"strings"
)

// nodeVersion begins the encoding of every node. A change of the encoding changes
// it, and with it all digests.
const nodeVersion = "modpipe tree 1\n"

// Root returns the digest of the tree's root node. It hashes about 100 bytes an
// entry at each call.
//
// The encoding of a node is nodeVersion and then, for each entry of the directory:
// the kind (a byte), the name, the size, the digest of the content or of the
// node, and the link target. Numbers and lengths are unsigned varints. A
// directory has the kind Directory, empty or not, and the size 0. Entries are in
// the order of the paths below them, as in a Tree.
func (t *Tree) Root() Digest {
	stack := []*node{newNode("")}
	for i := range t.Files {
		f := &t.Files[i]
		for !stack[len(stack)-1].holds(f.Path) {
			stack = fold(stack)
		}
		for {
			top := stack[len(stack)-1]
			rest := f.Path[len(top.prefix):]
			slash := strings.IndexByte(rest, '/')
			if slash < 0 {
				top.add(rest, f)
				break
			}
			stack = append(stack, newNode(f.Path[:len(top.prefix)+slash+1]))
		}
	}
	for len(stack) > 1 {
		stack = fold(stack)
	}
	return stack[0].sum()
}

// node is a directory while its entries are hashed.
type node struct {
	prefix string // path of the directory with a slash at its end; "" for the root
	hash   hash.Hash
	buf    []byte // of one entry
}

func newNode(prefix string) *node {
	n := &node{prefix: prefix, hash: sha256.New()}
	n.hash.Write([]byte(nodeVersion))
	return n
}

func (n *node) holds(path string) bool { return strings.HasPrefix(path, n.prefix) }

func (n *node) sum() (d Digest) {
	n.hash.Sum(d[:0])
	return d
}

// add hashes one entry. The digest of an empty directory is that of its node.
func (n *node) add(name string, f *File) {
	digest := f.Digest
	if f.Kind == Directory && digest == (Digest{}) {
		digest = emptyNode
	}
	b := append(n.buf[:0], byte(f.Kind))
	b = appendString(b, name)
	b = binary.AppendUvarint(b, uint64(f.Size))
	b = append(b, digest[:]...)
	b = appendString(b, f.Target)
	n.hash.Write(b)
	n.buf = b
}

var emptyNode = newNode("").sum()

// fold adds the last node of the stack to the one before.
func fold(stack []*node) []*node {
	last := len(stack) - 1
	child, into := stack[last], stack[last-1]
	name := child.prefix[len(into.prefix) : len(child.prefix)-1]
	into.add(name, &File{Kind: Directory, Digest: child.sum()})
	return stack[:last]
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
