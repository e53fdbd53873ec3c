package snapshot

import (
	"context"
	"errors"
)

func (t *taking) history(ctx context.Context, where place, inGit bool) error {
	return errors.New("workspace.git is not supported yet")
}
