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

// Known compares spec with the specification of the run that has its id. It
// returns nil when both have the same pipeline, parameters, environment, and
// RetryOf. It ignores labels and the submitter. Otherwise it returns ErrOther
// with the names of the differences and without their values. It returns
// broker.ErrNotFound when there is no such run, and a broker.DroppedError when
// the log of the run is dropped and cannot be compared.
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

// asStored returns a specification as a reader decodes it from the log.
func asStored(spec *jobs.Spec) (*jobs.Spec, error) {
	text, err := jobs.Marshal(&jobs.Record{Spec: spec})
	if err != nil {
		return nil, err
	}
	rec, err := jobs.Unmarshal[jobs.Record](text)
	return rec.Spec, err
}

// difference names the first difference between two specifications; "" = they
// describe the same run.
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
		return fmt.Sprintf("it is not a retry of run %s", want.RetryOf)
	case len(names(p.Params, q.Params)) > 0:
		return "it has other parameters (" + strings.Join(names(p.Params, q.Params), ", ") + ")"
	case len(names(env, wanted)) > 0:
		return "it has another environment (" + strings.Join(names(env, wanted), ", ") + ")"
	case !pipeline.Same(p, q):
		return fmt.Sprintf("its pipeline %q has another definition", p.Name)
	}
	return ""
}

// pairs returns variables by name. The last variable of a name counts.
func pairs(list []pipeline.KeyValue) map[string]string {
	m := map[string]string{}
	for _, v := range list {
		m[v.Key] = v.Value
	}
	return m
}

// names lists the keys whose values differ, sorted. It compares values with
// reflect.DeepEqual, because a stored run may hold values of any type.
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
