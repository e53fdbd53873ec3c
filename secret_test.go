package modpipe

import (
	"context"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/internal/mask"
)

func TestSecretOfAnAttempt(t *testing.T) {
	ctx := withAttempt(t.Context(), &call.Request{Module: "publish", Secrets: []mask.Secret{{Name: "TOKEN", Env: "T", Value: "s3cret"}}})
	if v, err := Secret(ctx, "TOKEN"); v != "s3cret" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	for _, row := range []struct {
		ctx  context.Context //nolint:containedctx // of a table
		want string
	}{
		{ctx, `module publish does not declare the secret "OTHER"`},
		{t.Context(), "not that of an attempt"},
	} {
		if v, err := Secret(row.ctx, "OTHER"); v != "" || err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%q, %v; want %q", v, err, row.want)
		}
	}
}
