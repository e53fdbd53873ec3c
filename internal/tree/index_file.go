package tree

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// indexVersion begins the file of an index. The SHA-256 of all bytes ends it.
const indexVersion = "modpipe index 1\n"

var errDamaged = errors.New("damaged")

// OpenIndex reads an index from a file. A file that does not exist, is damaged, or
// has another version gives an empty index: it costs time only. An error says
// that the file exists and cannot be read.
func OpenIndex(file string) (*Index, error) {
	x := &Index{file: file, entries: map[string]indexed{}}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return x, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	entries, err := readIndex(f, info.Size())
	switch {
	case errors.Is(err, errDamaged):
		x.dirty = true
	case err != nil:
		return nil, fmt.Errorf("read index %s: %w", file, err)
	default:
		x.entries = entries
	}
	return x, nil
}

// Save replaces the file of the index, completely or not at all, if the index has
// changed. Of several processes that save one index, the last one wins. The file
// is not synced: its checksum shows what a crash of the machine has left of it.
func (x *Index) Save() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.dirty {
		return nil
	}
	if err := x.replace(); err != nil {
		return fmt.Errorf("save index %s: %w", x.file, err)
	}
	x.dirty = false
	return nil
}

func (x *Index) replace() error {
	f, err := os.CreateTemp(filepath.Dir(x.file), "."+filepath.Base(x.file)+".*")
	if err != nil {
		return err
	}
	if err := errors.Join(x.write(f), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), x.file); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func (x *Index) write(to io.Writer) error {
	maps.DeleteFunc(x.entries, func(_ string, e indexed) bool { return e.idle >= maxIdle })
	sum := sha256.New()
	w := bufio.NewWriter(io.MultiWriter(to, sum))
	b := binary.AppendUvarint([]byte(indexVersion), uint64(len(x.entries)))
	if _, err := w.Write(b); err != nil {
		return err
	}
	last := ""
	for _, path := range slices.Sorted(maps.Keys(x.entries)) {
		e := x.entries[path]
		same := shared(last, path)
		b = binary.AppendUvarint(b[:0], uint64(same))
		b = appendString(b, path[same:])
		b = binary.AppendVarint(b, e.stamp.size)
		b = binary.AppendVarint(b, e.stamp.mtime)
		b = binary.AppendVarint(b, e.stamp.ctime)
		b = binary.AppendUvarint(b, e.stamp.inode)
		b = append(b, e.idle+1) // Save counts itself
		b = append(b, e.digest[:]...)
		if _, err := w.Write(b); err != nil {
			return err
		}
		last = path
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := to.Write(sum.Sum(nil))
	return err
}

// readIndex reads a file of this size. It returns errDamaged for content that no
// Save has written.
func readIndex(from io.Reader, size int64) (map[string]indexed, error) {
	sum := sha256.New()
	body := io.LimitReader(from, size-sha256.Size)
	r := &indexReader{r: bufio.NewReaderSize(io.TeeReader(body, sum), 64<<10)}
	version := make([]byte, len(indexVersion))
	r.read(version)
	count := r.uvarint()
	if r.err != nil || string(version) != indexVersion || count > maxIndexed {
		return nil, damaged(r.err)
	}
	entries := map[string]indexed{} // grows with what is there, not with what count claims
	for range count {
		e := r.entry()
		if r.err != nil {
			return nil, damaged(r.err)
		}
		entries[string(r.path)] = e
	}
	if _, err := r.r.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, damaged(err)
	}
	var want [sha256.Size]byte
	if _, err := io.ReadFull(from, want[:]); err != nil || !bytes.Equal(want[:], sum.Sum(nil)) {
		return nil, damaged(err)
	}
	return entries, nil
}

// indexReader reads entries. Its first error is final.
type indexReader struct {
	r    *bufio.Reader
	path []byte // of the last entry
	err  error
}

func (r *indexReader) read(b []byte) {
	if r.err == nil {
		_, r.err = io.ReadFull(r.r, b)
	}
}

func (r *indexReader) uvarint() (n uint64) {
	if r.err == nil {
		n, r.err = binary.ReadUvarint(r.r)
	}
	return n
}

func (r *indexReader) varint() (n int64) {
	if r.err == nil {
		n, r.err = binary.ReadVarint(r.r)
	}
	return n
}

func (r *indexReader) byte() (b byte) {
	if r.err == nil {
		b, r.err = r.r.ReadByte()
	}
	return b
}

func (r *indexReader) entry() (e indexed) {
	same, rest := r.uvarint(), r.uvarint()
	if r.err == nil && (same > uint64(len(r.path)) || rest > maxPath-same) {
		r.err = errDamaged
	}
	if r.err != nil {
		return e
	}
	r.path = append(r.path[:same], make([]byte, rest)...)
	r.read(r.path[same:])
	e.stamp = stamp{size: r.varint(), mtime: r.varint(), ctime: r.varint(), inode: r.uvarint()}
	e.idle = r.byte()
	r.read(e.digest[:])
	return e
}

// damaged keeps an error of the disk, and takes all others for damage.
func damaged(err error) error {
	if at := (*fs.PathError)(nil); errors.As(err, &at) {
		return err
	}
	return errDamaged
}
