package modpipe

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/pipeline"
)

func TestSecretOfAnAttempt(t *testing.T) {
	ctx := withAttempt(t.Context(), &call.Request{Module: "publish", Secrets: []mask.Secret{{Name: "TOKEN", Env: "T", Value: "s3cret"}}})
	if v, err := Secret(ctx, "TOKEN"); v != "s3cret" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	for _, row := range []struct {
		ctx  context.Context
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

func TestSecretsOfAModule(t *testing.T) {
	nothing := Call(func(context.Context) (struct{}, error) { return struct{}{}, nil })
	p, err := Build("p", func(b *Builder) {
		b.Defaults = []Option{Secrets("A", "B")}
		Add(b, "m", nothing, SecretTerms{Name: "other", Env: "B", File: true, FromWorker: true})
		Add(b, "n", nothing)
	})
	if err != nil {
		t.Fatal(err)
	}
	g, err := p.Pipeline(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]pipeline.Secret{
		"m": {{Env: "A", Name: "A"}, {Env: "B", Name: "other", File: true, FromWorker: true}},
		"n": {{Env: "A", Name: "A"}, {Env: "B", Name: "B"}},
	}
	for _, m := range g.Modules {
		if !slices.Equal(m.Secrets, want[m.Name]) {
			t.Errorf("%s has %+v, want %+v", m.Name, m.Secrets, want[m.Name])
		}
	}
	if got := g.Modules[0].Requires.Secrets; !slices.Equal(got, []string{"other"}) {
		t.Errorf("m requires %q of its worker", got)
	}
	_, err = Build("p", func(b *Builder) {
		Add(b, "m", Command{Run: "x", Env: map[string]string{"A": "1"}}, Secrets("A", "../b"))
	})
	for _, want := range []string{"m: A is a secret, and is set in the environment too", `"../b" is not`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}
