package process

import (
	"bytes"
	"context"
	"os/exec"
	"time"

	"github.com/modpipe/modpipe/internal/orphans"
)

// Output runs a program without input for at most a time, and returns the first
// bytes of its output and its errors, up to a size. It kills the group of the
// program when the time is over.
func Output(ctx context.Context, most time.Duration, size int, file string, args ...string) []byte {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	cmd := exec.CommandContext(ctx, file, args...)
	ownSession(cmd)
	cmd.Cancel = func() error {
		(&process{cmd: cmd, pid: cmd.Process.Pid}).kill(nil)
		return nil
	}
	cmd.WaitDelay = 100 * time.Millisecond
	out := &capped{most: size}
	cmd.Stdout, cmd.Stderr = out, out
	if orphans.Start(cmd) == nil {
		_ = cmd.Wait() // the output counts, not how it ended
		orphans.Done(cmd.Process.Pid)
	}
	return out.Bytes()
}

// capped keeps the beginning of what is written to it.
type capped struct {
	bytes.Buffer
	most int
}

func (c *capped) Write(p []byte) (int, error) {
	c.Buffer.Write(p[:min(len(p), max(0, c.most-c.Len()))])
	return len(p), nil
}
