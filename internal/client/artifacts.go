package client

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// Artifact is an artifact of a run, and the module that has left it.
type Artifact struct {
	Module string
	Family string // "" = the module is not a member of a family
	Token  string // names the module in paths
	// Expired reports that the files are not stored any more.
	Expired bool
	jobs.Artifact
}

// Artifacts lists what the modules of a run have left, in the order of the
// graph. It returns broker.ErrNotFound when there is no such run.
func (c *Client) Artifacts(ctx context.Context, run jobs.RunID) ([]Artifact, error) {
	state, err := runlog.Load(ctx, c.conn.Runs, run)
	if err != nil {
		return nil, err
	}
	var found []Artifact
	var trees []jobs.Tree
	for m, left := range state.Artifacts() {
		for _, a := range left {
			found = append(found, Artifact{Module: m.Name, Family: m.Family, Token: m.Token, Artifact: a})
			trees = append(trees, a.Tree)
		}
	}
	stored, err := c.stored(ctx, trees)
	for i := range found {
		found[i].Expired = !stored[found[i].Tree.Manifest]
	}
	return found, err
}

// stored returns the manifests of those trees that are stored. They stay so for a
// day.
func (c *Client) stored(ctx context.Context, trees []jobs.Tree) (map[string]bool, error) {
	manifests := map[string][]content.Digest{}
	for _, t := range trees {
		manifests[t.Namespace] = append(manifests[t.Namespace], content.Digest(t.Manifest))
	}
	stored := map[string]bool{}
	for namespace, digests := range manifests {
		store, err := c.conn.Files.In(namespace)
		if err != nil {
			return nil, err
		}
		have, err := store.Have(ctx, digests)
		if err != nil {
			return nil, err
		}
		for d := range have {
			stored[string(d)] = true
		}
	}
	return stored, nil
}

// mostSearched is how many runs Earlier looks at for one that a module consumes
// from.
const mostSearched = 10_000

// Earlier finds the runs whose artifacts the modules of a pipeline consume: for
// each `from-run` the newest run of that pipeline that has succeeded and has the
// labels. A RefusedError names what no run has.
func (c *Client) Earlier(ctx context.Context, p *pipeline.Pipeline) ([]jobs.Earlier, error) {
	var found []jobs.Earlier
	for _, m := range p.Modules {
		for _, want := range m.Consume {
			if want.FromRun == nil || m.Unselected || slices.ContainsFunc(found, func(e jobs.Earlier) bool { return isFor(e, want) }) {
				continue
			}
			e, err := c.earlier(ctx, want)
			if err != nil {
				return nil, fmt.Errorf("module %s consumes %s: %w", m.Name, want.Name, err)
			}
			found = append(found, e)
		}
	}
	return found, nil
}

func isFor(e jobs.Earlier, want pipeline.Consume) bool {
	return e.Pipeline == want.FromRun.Pipeline && e.Name == want.Name && slices.Equal(e.Labels, want.FromRun.Labels)
}

func (c *Client) earlier(ctx context.Context, want pipeline.Consume) (jobs.Earlier, error) {
	from := *want.FromRun
	run, err := c.newestSuccess(ctx, from)
	if err != nil {
		return jobs.Earlier{}, err
	}
	left, err := c.Artifacts(ctx, run)
	if err != nil {
		return jobs.Earlier{}, fmt.Errorf("run %s: %w", run, err)
	}
	e := jobs.Earlier{Pipeline: from.Pipeline, Labels: from.Labels, Name: want.Name, Run: run}
	for _, a := range left {
		if !want.Takes(a.Name) || want.From != "" && want.From != a.Module && want.From != a.Family {
			continue
		}
		if a.Expired {
			return jobs.Earlier{}, refusedf("run %s of %s has left %s, and its files are not stored any more: run %s again", run, from.Pipeline, a.Name, from.Pipeline)
		}
		e.Artifacts = append(e.Artifacts, jobs.Restore{Artifact: a.Artifact, Module: a.Module, To: a.below(want)})
	}
	if len(e.Artifacts) == 0 {
		return jobs.Earlier{}, refusedf("run %s of %s has no such artifact", run, from.Pipeline)
	}
	return e, nil
}

// newestSuccess returns the newest run that from describes and that has
// succeeded.
func (c *Client) newestSuccess(ctx context.Context, from pipeline.FromRun) (jobs.RunID, error) {
	page := broker.Page{Limit: 100}
	for looked := 0; looked < mostSearched; {
		list, err := c.List(ctx, page)
		if err != nil {
			return "", err
		}
		for i := range list.Runs {
			if fits(&list.Runs[i], from) {
				return jobs.RunID(list.Runs[i].Run), nil
			}
		}
		looked += len(list.Runs)
		if page.Before = list.Next; list.Next == 0 {
			break
		}
	}
	if len(from.Labels) == 0 {
		return "", refusedf("no run of pipeline %s has succeeded", from.Pipeline)
	}
	return "", refusedf("no run of pipeline %s with these labels has succeeded", from.Pipeline)
}

// below is the directory of a member of a family, whose files are apart from those of
// the other members unless they are merged.
func (a Artifact) below(want pipeline.Consume) string {
	if a.Family == "" || want.From == a.Module {
		return ""
	}
	return a.Token
}

func fits(r *report.Run, from pipeline.FromRun) bool {
	if r.Pipeline != from.Pipeline || r.Status != report.RunSucceeded {
		return false
	}
	want := map[string]string{}
	for _, l := range from.Labels {
		want[l.Key] = l.Value
	}
	has := maps.Clone(r.Labels)
	maps.DeleteFunc(has, func(k, _ string) bool { _, asked := want[k]; return !asked })
	return maps.Equal(has, want)
}
