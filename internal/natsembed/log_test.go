package natsembed

import (
	"bytes"
	"log/slog"
	"testing"
)

// Warnings of the server are forwarded, except for harmless ones.
func TestServerLogForwardsImportantMessages(t *testing.T) {
	var out bytes.Buffer
	l := &serverLog{log: slog.New(slog.NewTextHandler(&out, nil))}
	l.Warnf("Consumer '%s > %s > %s' error on write store state from purge: %v", "$G", "MP_JOBS", "any", "old update ignored")
	if out.Len() > 0 {
		t.Errorf("passed on: %s", out.String())
	}
	l.Warnf("Consumer '%s > %s > %s' error on write store state from purge: %v", "$G", "MP_JOBS", "any", "no space left on device")
	if !bytes.Contains(out.Bytes(), []byte("no space left on device")) {
		t.Errorf("kept back: %s", out.String())
	}
}
