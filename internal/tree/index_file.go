package tree

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
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
	entries, err := readIndex(f)
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

// indexReader reads the file of an index and hashes what it has read.
type indexReader struct {
	r   *bufio.Reader
	sum hash.Hash
	one [1]byte
}

func (r *indexReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.sum.Write(b[:n])
	return n, err
}

func (r *indexReader) ReadByte() (byte, error) {
	b, err := r.r.ReadByte()
	if err == nil {
		r.one[0] = b
		r.sum.Write(r.one[:])
	}
	return b, err
}

// readIndex returns errDamaged for content that no Save has written.
func readIndex(from io.Reader) (map[string]indexed, error) {
	r := &indexReader{r: bufio.NewReaderSize(from, 1<<16), sum: sha256.New()}
	version := make([]byte, len(indexVersion))
	if _, err := io.ReadFull(r, version); err != nil || string(version) != indexVersion {
		return nil, damaged(err)
	}
	count, err := binary.ReadUvarint(r)
	if err != nil || count > maxIndexed {
		return nil, damaged(err)
	}
	entries := map[string]indexed{} // grows with what is there, not with what count claims
	var path []byte
	for range count {
		var e indexed
		if path, err = r.entry(path, &e); err != nil {
			return nil, err
		}
		entries[string(path)] = e
	}
	want := r.sum.Sum(nil)
	var got [sha256.Size]byte
	if _, err := io.ReadFull(r, got[:]); err != nil || !bytes.Equal(got[:], want) {
		return nil, damaged(err)
	}
	return entries, nil
}

// entry reads an entry and returns its path, in the memory of the one before.
func (r *indexReader) entry(path []byte, e *indexed) ([]byte, error) {
	same, err1 := binary.ReadUvarint(r)
	rest, err2 := binary.ReadUvarint(r)
	if err := errors.Join(err1, err2); err != nil || same > uint64(len(path)) || rest > maxPath {
		return nil, damaged(err)
	}
	path = append(path[:same], make([]byte, rest)...)
	_, err1 = io.ReadFull(r, path[same:])
	errs := []error{err1}
	for _, n := range []*int64{&e.stamp.size, &e.stamp.mtime, &e.stamp.ctime} {
		v, err := binary.ReadVarint(r)
		*n, errs = v, append(errs, err)
	}
	inode, err3 := binary.ReadUvarint(r)
	idle, err4 := r.ReadByte()
	_, err5 := io.ReadFull(r, e.digest[:])
	e.stamp.inode, e.idle = inode, idle
	if err := errors.Join(append(errs, err3, err4, err5)...); err != nil || len(path) > maxPath {
		return nil, damaged(err)
	}
	return path, nil
}

// damaged keeps an error of the disk, and takes all others for damage.
func damaged(err error) error {
	if at := (*fs.PathError)(nil); errors.As(err, &at) {
		return err
	}
	return errDamaged
}
