package worker

import (
	"context"
	"fmt"

	"github.com/modpipe/modpipe/internal/mask"
)

// receiveSecrets asks for the secrets of the attempt. A request to end the attempt ends
// the wait for them.
func (a *task) receiveSecrets(ctx context.Context) error {
	if a.s.cfg.Secrets == nil {
		return nil
	}
	waiting, stop := a.Stops().Within(ctx)
	defer stop()
	secrets, err := a.s.cfg.Secrets(waiting, a.job)
	if err != nil {
		return fmt.Errorf("receive its secrets: %w", err)
	}
	if err := mask.Check(secrets); err != nil {
		return err
	}
	a.secrets, a.mask = secrets, mask.New(secrets)
	return nil
}
