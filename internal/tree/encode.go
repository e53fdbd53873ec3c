package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// runVersion is the first byte of an encoded run of files.
	runVersion = 1
	// maxRunNames bounds the paths and targets of one run together, because paths
	// are encoded by what they share and could otherwise claim any amount of memory.
	maxRunNames = 64 << 20
	// minEntry is the length of the shortest encoded entry in bytes: a directory.
	minEntry = 4
)

// AppendFiles appends the encoding of a contiguous run of a tree's files, in
// their order, and returns the extended slice. Equal runs have equal encodings.
// An entry takes about 40 bytes and what its path does not share with the one
// before. DecodeFiles refuses a run whose paths and targets take more than 64 MiB.
//
// The encoding is the version (a byte) and the number of entries, and for each:
// the kind (a byte), the length of what its path shares with the one before, the
// rest of the path, and, for files, the size and the digest, for links, the
// target. Numbers and lengths are unsigned varints.
func AppendFiles(b []byte, files []File) []byte {
	b = append(b, runVersion)
	b = binary.AppendUvarint(b, uint64(len(files)))
	last := ""
	for i := range files {
		f := &files[i]
		same := shared(last, f.Path)
		b = append(b, byte(f.Kind))
		b = binary.AppendUvarint(b, uint64(same))
		b = appendString(b, f.Path[same:])
		switch {
		case f.HasContent():
			b = binary.AppendUvarint(b, uint64(f.Size))
			b = append(b, f.Digest[:]...)
		case f.Kind == Link:
			b = appendString(b, f.Target)
		}
		last = f.Path
	}
	return b
}

// shared returns the length of the longest common prefix, in bytes.
func shared(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// DecodeFiles decodes what AppendFiles returned. It believes nothing: an error
// says which entry is wrong, and at which byte. What it returns is sorted, and
// each entry is one that New accepts; whether the runs of a tree fit together,
// only New finds out. Every run has exactly one encoding, and it refuses all
// others.
func DecodeFiles(b []byte) ([]File, error) {
	r := reader{b: b}
	files, err := r.files()
	if err != nil {
		return nil, fmt.Errorf("decode files: entry %d, byte %d of %d: %w", len(files), r.at, len(b), err)
	}
	return files, nil
}

var errShort = errors.New("the encoding ends too early")

// reader decodes a run. Its first error is final.
type reader struct {
	b     []byte
	at    int
	names int // bytes of paths and targets so far
	err   error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) left() int { return len(r.b) - r.at }

func (r *reader) take(n uint64) []byte {
	if r.err != nil || n > uint64(r.left()) {
		r.fail(errShort)
		return nil
	}
	b := r.b[r.at : r.at+int(n)]
	r.at += int(n)
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	n, length := binary.Uvarint(r.b[r.at:])
	switch {
	case r.err != nil:
		return 0
	case length == 0:
		r.fail(errShort)
		return 0
	case length < 0 || length > 1 && r.b[r.at+length-1] == 0:
		r.fail(errors.New("a number is not in its shortest form"))
		return 0
	}
	r.at += length
	return n
}

func (r *reader) files() ([]File, error) {
	if v := r.byte(); r.err == nil && v != runVersion {
		return nil, fmt.Errorf("version %d is unknown; this program reads version %d", v, runVersion)
	}
	count := r.uvarint()
	if r.err != nil {
		return nil, r.err
	}
	if count > uint64(r.left()/minEntry) {
		return nil, fmt.Errorf("%d entries do not fit into %d bytes", count, r.left())
	}
	files := make([]File, 0, count)
	last := ""
	for range count {
		f := r.file(last)
		if r.err != nil {
			return files, r.err
		}
		files = append(files, f)
		last = f.Path
	}
	if r.left() > 0 {
		return files, fmt.Errorf("%d bytes follow the last entry", r.left())
	}
	return files, nil
}

func (r *reader) file(last string) File {
	f := File{Kind: Kind(r.byte())}
	f.Path = r.path(last)
	switch {
	case f.HasContent():
		if size := r.uvarint(); int64(size) >= 0 {
			f.Size = int64(size)
		} else {
			r.fail(fmt.Errorf("a size of %d bytes", size))
		}
		copy(f.Digest[:], r.take(uint64(len(f.Digest))))
	case f.Kind == Link:
		f.Target = string(r.bytes(maxTarget))
	}
	if r.err == nil {
		r.err = f.check()
	}
	if r.err == nil && f.Path <= last {
		r.err = fmt.Errorf("%q does not come after %q", f.Path, last)
	}
	return f
}

// path decodes a path after the one before it.
func (r *reader) path(last string) string {
	same := r.uvarint()
	if r.err == nil && same > uint64(len(last)) {
		r.fail(errors.New("a path shares more than the one before has"))
	}
	if r.err != nil {
		return ""
	}
	head := last[:same]
	rest := r.bytes(maxPath - len(head))
	if len(rest) > 0 && len(last) > len(head) && rest[0] == last[same] {
		r.fail(errors.New("a path shares more with the one before than it says"))
	}
	r.count(len(head))
	if r.err != nil {
		return ""
	}
	return head + string(rest)
}

func (r *reader) bytes(limit int) []byte {
	n := r.uvarint()
	if r.err == nil && n > uint64(max(limit, 0)) {
		r.fail(fmt.Errorf("a name of %d bytes is too long", n))
	}
	b := r.take(n)
	r.count(len(b))
	if r.err != nil {
		return nil
	}
	return b
}

func (r *reader) count(n int) {
	if r.names += n; r.names > maxRunNames {
		r.fail(fmt.Errorf("its names take more than %d bytes", maxRunNames))
	}
}
