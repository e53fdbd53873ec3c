package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/mask"
)

const (
	// secretsName is the directory of the files of secrets, beside the workspace of
	// the attempt.
	secretsName = "secrets"
	// markerName is what precedes the path of the outputs in the mark of an attempt.
	markerName = "MODPIPE_OUTPUT="
)

// secretsOf is the directory of the files of secrets of the attempt with a mark.
func secretsOf(marker string) string {
	return filepath.Join(filepath.Dir(strings.TrimPrefix(marker, markerName)), secretsName)
}

// secretValue is the value of the variable of a secret: the secret, or the path of its
// file.
func (s *scratch) secretValue(secret mask.Secret) string {
	if secret.File {
		return filepath.Join(s.root, secretsName, secret.Variable())
	}
	return secret.Value
}

// writeSecrets writes the files of secrets, which only the user of the attempt can
// read.
func (s *scratch) writeSecrets(secrets []mask.Secret) error {
	for _, secret := range secrets {
		if !secret.File {
			continue
		}
		path := s.secretValue(secret)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, []byte(secret.Value), 0o600)
		}
		if err != nil {
			return machine.Errorf("write the file of secret %s in %s: %w", secret.Name, os.TempDir(), machine.WithoutPath(err))
		}
	}
	return nil
}

// removeSecrets removes the files of secrets.
func (s *scratch) removeSecrets() error {
	if err := os.RemoveAll(filepath.Join(s.root, secretsName)); err != nil {
		return fmt.Errorf("remove the files of secrets: %w", err)
	}
	return nil
}
