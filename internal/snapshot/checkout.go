package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
)

// GitDir returns the directory .git of the work tree that dir is in, which a linked
// work tree has elsewhere; "" outside git.
func GitDir(ctx context.Context, dir string) (string, error) {
	where, ok, err := locate(ctx, dir)
	if err != nil || !ok || where.bare {
		return "", err
	}
	return run(ctx, dir, "rev-parse", "--absolute-git-dir")
}

// Commit returns the commit that is checked out in dir, in hex; "" = no commit, or
// git does not tell.
func Commit(ctx context.Context, dir string) string {
	commit, err := resolve(ctx, dir, "HEAD")
	if err != nil {
		return ""
	}
	return commit
}

// IndexFile returns where Take keeps the index of a directory below Options.IndexDir.
func IndexFile(indexDir, dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(indexDir, hex.EncodeToString(sum[:16])+".index")
}
