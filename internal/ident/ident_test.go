package ident_test

import (
	"regexp"
	"testing"

	"github.com/modpipe/modpipe/internal/ident"
)

func TestNameOfAProcessIsOneToken(t *testing.T) {
	t.Parallel()
	pattern := regexp.MustCompile(`^[A-Za-z0-9_-]{1,57}-[a-z2-7]{6}$`)
	a, b := ident.OnHost(), ident.OnHost()
	if !pattern.MatchString(a) || a == b {
		t.Errorf("two processes are named %q and %q", a, b)
	}
}
