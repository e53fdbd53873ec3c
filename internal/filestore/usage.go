package filestore

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// usage is what the file `usage` of a store holds. The lock of the state guards
// it. It is an estimate that is never too low: a kill may leave it too high, and
// each scan corrects it.
type usage struct {
	used  int64 // bytes on disk
	since int64 // bytes added since the last scan began
}

// usageCheck makes a file of zeros, which a power loss may leave, invalid.
const usageCheck = 0x6d6f_6470_6970_6531

// cost is how much a file of this size takes on disk: whole blocks of 4 KiB,
// and one for its entry.
func cost(size int64) int64 {
	const block = 4096
	return block + (size+block-1)/block*block
}

// readUsage returns false when the usage is not known and a scan has to find it.
func (s *Store) readUsage() (usage, bool, error) {
	f, err := os.Open(filepath.Join(s.dir, "usage"))
	if errors.Is(err, fs.ErrNotExist) {
		return usage{}, false, nil
	}
	if err != nil {
		return usage{}, false, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	var b [25]byte
	n, err := io.ReadFull(f, b[:])
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) && err != nil {
		return usage{}, false, err
	}
	u := usage{int64(binary.BigEndian.Uint64(b[:])), int64(binary.BigEndian.Uint64(b[8:]))}
	ok := n == 24 && u.used >= 0 && u.since >= 0 && binary.BigEndian.Uint64(b[16:]) == uint64(u.used)^uint64(u.since)^usageCheck
	return u, ok, nil
}

func (s *Store) writeUsage(u usage) error {
	var b [24]byte
	binary.BigEndian.PutUint64(b[:], uint64(u.used))
	binary.BigEndian.PutUint64(b[8:], uint64(u.since))
	binary.BigEndian.PutUint64(b[16:], uint64(u.used)^uint64(u.since)^usageCheck)
	f, err := os.OpenFile(filepath.Join(s.dir, "usage"), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b[:], 0)
	return errors.Join(err, f.Close())
}

// count adds to the usage. The caller holds the lock of the state.
func (s *Store) count(n int64) error {
	u, known, err := s.readUsage()
	if err != nil || !known { // a scan follows: see over
		return err
	}
	u.used = max(u.used+n, 0)
	u.since = max(u.since+n, 0)
	return s.writeUsage(u)
}
