//go:build unix

package signing_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/internal/signing"
)

// TestFileThatOthersCanReadIsRefused, with what to do.
func TestFileThatOthersCanReadIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := strings.Repeat("ab", signing.Size)
	if _, err := signing.Load(writeKey(t, filepath.Join(dir, "good"), good+"\n", 0o400)); err != nil {
		t.Error(err)
	}
	for _, mode := range []os.FileMode{0o604, 0o640, 0o644} {
		path := writeKey(t, filepath.Join(dir, mode.String()), good, mode)
		if _, err := signing.Load(path); !errors.Is(err, signing.ErrPublic) || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
}
