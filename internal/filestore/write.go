package filestore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/tree"
)

// Writer adds one content. One goroutine uses it, and calls Commit or Discard in
// the end.
type Writer struct {
	store *Store
	file  *os.File // nil after Commit or Discard
	hash  hash.Hash
	size  int64
	room  func(need int64) (int64, error) // evicts, when the disk is full
}

// Writer begins to add content whose digest need not be known. ctx bounds the
// waits of the writer, and not its life.
func (s *Store) Writer(ctx context.Context) (*Writer, error) {
	f, err := s.temporary()
	if err != nil {
		return nil, s.failed("begin a file", err)
	}
	room := func(need int64) (int64, error) { return s.trim(ctx, need) }
	return &Writer{store: s, file: f, hash: sha256.New(), room: room}, nil
}

// temporary creates an unfinished file. What a process leaves of them is removed
// with its user.
func (s *Store) temporary() (*os.File, error) {
	name := filepath.Join(s.user.dir, tmpDir, strconv.FormatUint(s.tmpNames.Add(1), 10))
	return os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
}

// failed is an error of the store's own files, which the machine causes.
func (s *Store) failed(doing string, err error) error {
	if diskFull(err) {
		return machine.Errorf("file store %s: %s: %w (nothing more can be evicted: free space on this disk, or choose another with --files-dir)",
			s.dir, doing, machine.WithoutPath(err))
	}
	return machine.Errorf("file store %s: %s: %w", s.dir, doing, machine.WithoutPath(err))
}

// Write adds bytes. On a full disk it evicts content that is not pinned and tries
// again while that frees anything; then the error is one that the machine causes.
func (w *Writer) Write(p []byte) (int, error) {
	if w.file == nil {
		return 0, os.ErrClosed
	}
	hashed := w.hashBeside(p)
	n, err := w.store.writeAll(w.file, p, w.size, w.room)
	<-hashed // the digest of a writer that fails is not used
	w.size += int64(n)
	if err != nil {
		return n, w.store.failed("write a file", err)
	}
	return n, nil
}

// leastBeside is how many bytes are worth a goroutine to hash them.
const leastBeside = 512 << 10

// hashBeside hashes p while the caller does something else with it, until the channel
// is closed.
func (w *Writer) hashBeside(p []byte) <-chan struct{} {
	hashed := make(chan struct{})
	hash := func() {
		w.hash.Write(p)
		close(hashed)
	}
	if len(p) < leastBeside {
		hash()
	} else {
		go hash()
	}
	return hashed
}

// leastRoom is how much an eviction for a full disk frees at least, in bytes: it
// costs a scan, which a few blocks would not be worth.
const leastRoom = 64 << 20

// writeAll writes p to a file that holds size bytes. room frees bytes of the same
// disk when it is full.
func (s *Store) writeAll(f *os.File, p []byte, size int64, room func(need int64) (int64, error)) (int, error) {
	done := 0
	for done < len(p) {
		n, err := s.write(f, p[done:])
		done += n
		if err == nil {
			continue
		}
		if !diskFull(err) {
			return done, err
		}
		freed, trouble := room(max(leastRoom, size+int64(len(p))))
		if trouble != nil || freed == 0 {
			return done, errors.Join(err, trouble)
		}
	}
	return done, nil
}

// Size returns how many bytes were written.
func (w *Writer) Size() int64 { return w.size }

// Discard ends the writer and adds nothing. After Commit it does nothing.
func (w *Writer) Discard() {
	if w.file == nil {
		return
	}
	_ = w.file.Close() // nothing of it counts
	_ = os.Remove(w.file.Name())
	w.file = nil
}

// Commit adds the content under its digest, which it returns with the length. The
// content is complete in the store when Commit returns nil.
func (w *Writer) Commit(ctx context.Context) (tree.Digest, int64, error) {
	d := tree.Digest(w.hash.Sum(nil))
	return d, w.size, w.commit(ctx, d)
}

// CommitAs is Commit for content whose digest is known; it refuses another one
// with ErrDigest.
func (w *Writer) CommitAs(ctx context.Context, want tree.Digest) error {
	if d := tree.Digest(w.hash.Sum(nil)); d != want {
		w.Discard()
		return fmt.Errorf("add %v: %w: %d bytes with digest %v arrived", want, ErrDigest, w.size, d)
	}
	return w.commit(ctx, want)
}

func (w *Writer) commit(ctx context.Context, d tree.Digest) error {
	if w.file == nil {
		return os.ErrClosed
	}
	err := w.store.commit(ctx, w.file, w.store.path(d), w.size)
	w.file = nil
	return err
}

// commit closes a complete unfinished file and gives it its name. It consumes
// the file, and evicts what is above the limit of the store.
func (s *Store) commit(ctx context.Context, f *os.File, final string, size int64) error {
	now := s.now()
	err := errors.Join(f.Close(), os.Chtimes(f.Name(), now, now))
	if err == nil {
		err = s.install(context.WithoutCancel(ctx), f.Name(), final, size)
	}
	if diskFull(err) {
		if _, trouble := s.trim(ctx, leastRoom); trouble == nil {
			err = s.install(context.WithoutCancel(ctx), f.Name(), final, size)
		}
	}
	if err != nil {
		return errors.Join(s.failed("add a file", err), os.Remove(f.Name()))
	}
	_, err = s.trim(ctx, 0)
	return err
}

// Add adds the content that r delivers. It refuses one with another digest than d
// with ErrDigest. If r is an *os.File at its beginning, its content is cloned
// where the file system can do it. An error of r is returned as it is; the other
// errors are caused by the machine. ctx is checked between reads, unless r is an
// io.WriterTo.
func (s *Store) Add(ctx context.Context, d tree.Digest, r io.Reader) error {
	w, err := s.Writer(ctx)
	if err != nil {
		return err
	}
	defer w.Discard()
	if err := w.fill(ctx, r); err != nil {
		return err
	}
	return w.CommitAs(ctx, d)
}

// fill writes what r delivers. A file is cloned where the file system can do it.
func (w *Writer) fill(ctx context.Context, r io.Reader) error {
	src, ok := r.(*os.File)
	if from, whole := r.(io.WriterTo); whole && !ok { // it writes longer parts than a buffer has
		_, err := from.WriteTo(w)
		return err
	}
	if !ok || !atBeginning(src) || !w.store.clone(w.file, src) {
		return copyTo(ctx, w, r)
	}
	// The clone is hashed, and not the source, which may still change.
	counted := &counter{Writer: w.hash}
	err := copyTo(ctx, counted, w.file)
	w.size = counted.n
	return err
}

func atBeginning(f *os.File) bool {
	at, err := f.Seek(0, io.SeekCurrent)
	return err == nil && at == 0
}

// counter counts bytes.
type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}

// bufferSize balances memory against system calls: with 256 KiB the hash takes
// nearly all of the time.
const bufferSize = 256 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// copyTo copies until the end of r or of ctx.
func copyTo(ctx context.Context, w io.Writer, r io.Reader) error {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	_, err := io.CopyBuffer(onlyWriter{w}, contextReader{ctx, r}, buf[:])
	return err
}

// onlyWriter hides ReadFrom, so that copies use their buffer.
type onlyWriter struct{ io.Writer }

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context //nolint:containedctx // it lasts as long as one call
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}
