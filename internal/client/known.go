package client

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// Known returns nil when the run of spec's id is the one that spec describes:
// with the same pipeline, parameters and environment, and doing the same run
// again if it does one again. ErrOther says in which of them it differs,
// without their values. Labels and who submitted it do not count.
// broker.ErrNotFound when there is no such run, and a broker.DroppedError when
// its log is gone, so that it cannot be compared.
func (c *Client) Known(ctx context.Context, spec *jobs.Spec) error {
	have, err := c.conn.Runs.Spec(ctx, spec.Run)
	if err != nil {
		return err
	}
	want, err := asStored(spec)
	if err != nil {
		return err
	}
	if text := difference(have, want); text != "" {
		return fmt.Errorf("%w: %s", ErrOther, text)
	}
	return nil
}

// asStored is a specification as its reader finds it.
func asStored(spec *jobs.Spec) (*jobs.Spec, error) {
	text, err := jobs.Marshal(&jobs.Record{Spec: spec})
	if err != nil {
		return nil, err
	}
	rec, err := jobs.Unmarshal[jobs.Record](text)
	return rec.Spec, err
}

// difference says in what a run differs from the one that is wanted; "" = in
// nothing that counts.
func difference(have, want *jobs.Spec) string {
	p, q := have.Pipeline, want.Pipeline
	env, wanted := pairs(have.Env), pairs(want.Env)
	switch {
	case p == nil || q == nil:
		return "it has no pipeline"
	case p.Name != q.Name:
		return fmt.Sprintf("its pipeline is %q, not %q", p.Name, q.Name)
	case have.RetryOf != want.RetryOf && want.RetryOf == "":
		return fmt.Sprintf("it is a retry of run %s", have.RetryOf)
	case have.RetryOf != want.RetryOf:
		return fmt.Sprintf("it is no retry of run %s", want.RetryOf)
	case len(names(p.Params, q.Params)) > 0:
		return "it has other parameters (" + strings.Join(names(p.Params, q.Params), ", ") + ")"
	case len(names(env, wanted)) > 0:
		return "it has another environment (" + strings.Join(names(env, wanted), ", ") + ")"
	case !pipeline.Same(p, q):
		return fmt.Sprintf("its pipeline %q has another definition", p.Name)
	}
	return ""
}

// pairs are variables by name: the last of a name counts.
func pairs(list []pipeline.Pair) map[string]string {
	m := map[string]string{}
	for _, v := range list {
		m[v.Axis] = v.Value
	}
	return m
}

// names lists the keys whose values differ. Values are compared as a whole:
// what a stored run holds may be of any type.
func names[V any](a, b map[string]V) []string {
	differ := map[string]bool{}
	for _, m := range []map[string]V{a, b} {
		for k := range m {
			x, inA := a[k]
			y, inB := b[k]
			if inA != inB || !reflect.DeepEqual(x, y) {
				differ[k] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(differ))
}
