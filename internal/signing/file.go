package signing

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// FileName is the name of the default file, in the directory of the user's state.
const FileName = "signing-key"

// maxFile bounds a file: a secret in hex has 64 bytes.
const maxFile = 4 << 10

// ErrPublic reports that other users can read a file.
var ErrPublic = errors.New("other users can read it")

// Load reads one secret from each file. A file holds at least 32 bytes in hex.
func Load(files ...string) (*Keyring, error) {
	secrets := make([][]byte, 0, len(files))
	for _, file := range files {
		value, err := read(file)
		if err != nil {
			return nil, fmt.Errorf("signing key %s: %w", file, err)
		}
		secrets = append(secrets, value)
	}
	return NewKeyring(secrets...)
}

// Ensure creates a file with a new secret unless it exists. Of several processes that
// do so together one creates it, and no process reads a part of it.
func Ensure(file string) error {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := create(file)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("create the signing key %s: %w\nor create it yourself (openssl rand -hex 32), and name it with --signing-key", file, err)
	}
	return nil
}

func create(file string) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+FileName+".*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	var value [Size]byte
	_, _ = rand.Read(value[:]) // never fails
	_, werr := f.WriteString(hex.EncodeToString(value[:]) + "\n")
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), file) // fails when the file exists, unlike a rename
}

func read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("it is no regular file of at most %d bytes", maxFile)
	}
	if !private(info) {
		return nil, fmt.Errorf("%w (mode %04o): chmod 600 %s; if others may have read it, replace it by another one (openssl rand -hex 32)", ErrPublic, info.Mode().Perm(), file)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, err
	}
	value, err := hex.DecodeString(strings.TrimSpace(string(text)))
	switch {
	case err != nil:
		return nil, errors.New("it is not in hexadecimal (openssl rand -hex 32)") // without the text, which is secret
	case len(value) < Size:
		return nil, fmt.Errorf("it has %d bytes, and needs at least %d (openssl rand -hex 32)", len(value), Size)
	}
	return value, nil
}
