package cli

import (
	"maps"

	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// loadPipeline reads a file, or takes this program's definition, binds its parameters
// and selects modules. origin records where the pipeline came from.
func loadPipeline(a *app, file string, s pipelineFlags) (p *pipeline.Pipeline, origin *jobs.Origin, err error) {
	origin = &jobs.Origin{Params: settings.PairMap(s.params), Selection: s.selection}
	if a.own != nil {
		origin.Program, err = a.own.identity()
	} else {
		origin.File = file
		origin.Text, err = a.text(file)
	}
	if err != nil {
		return nil, nil, err
	}
	p, err = assemble(a, origin, a.env.Lookup)
	return p, origin, err
}

// assemble builds the pipeline of an origin, and notes there which variables have
// given parameters their values.
func assemble(a *app, o *jobs.Origin, lookup func(string) (string, bool)) (*pipeline.Pipeline, error) {
	o.Env = map[string]string{}
	p, err := bindOrigin(a, o, func(name string) (string, bool) {
		v, ok := lookup(name)
		if ok {
			o.Env[name] = v
		}
		return v, ok
	})
	if err != nil {
		return nil, err
	}
	if p, err = p.Select(o.Selection); err != nil {
		return nil, faultsError(err)
	}
	return p, nil
}

// bindOrigin is the pipeline with its parameters.
func bindOrigin(a *app, o *jobs.Origin, lookup func(string) (string, bool)) (*pipeline.Pipeline, error) {
	if o.Program != nil {
		return a.own.graph(o.Params, lookup)
	}
	f, err := pipeline.Parse(o.File, o.Text)
	if err != nil {
		return nil, faultsError(err)
	}
	p, err := f.Bind(o.Params, lookup)
	if err != nil {
		return nil, faultsError(err)
	}
	return p, nil
}

// rebind builds the pipeline of an earlier run with other parameters. Those
// that are not named keep their values.
func rebind(a *app, run jobs.RunID, old *jobs.Spec, params []settings.Pair) (*pipeline.Pipeline, *jobs.Origin, error) {
	if err := canRebind(a, run, old.Origin); err != nil {
		return nil, nil, err
	}
	o := *old.Origin
	o.Params = maps.Clone(o.Params)
	if o.Params == nil {
		o.Params = map[string]string{}
	}
	maps.Copy(o.Params, settings.PairMap(params))
	p, err := assemble(a, &o, settings.Environment(old.Origin.Env).Lookup)
	if err != nil {
		return nil, nil, err
	}
	if o.Narrowed {
		p = p.SelectLike(old.Pipeline)
	}
	return p, &o, nil
}

// canRebind explains why this program cannot build the pipeline of a run again.
func canRebind(a *app, run jobs.RunID, o *jobs.Origin) error {
	switch {
	case o == nil:
		return exit.NotFoundf("run %s cannot have other parameters: an earlier version of modpipe has submitted it, without the text of its pipeline.\n"+
			"Start a new run of the pipeline with `run` and --param, or leave --param out", run)
	case o.Program == nil:
		return nil
	case a.own == nil || a.own.name != o.Program.Name:
		return exit.Usagef("run %s cannot have other parameters from this program: the Go program %s defines its pipeline.\n"+
			"Run `%s runs retry %s --from start --param …`", run, *o.Program, o.Program.Name, run)
	}
	id, err := a.own.identity()
	if err != nil {
		return err
	}
	if id.Graph != o.Program.Graph {
		return exit.Usagef("run %s cannot have other parameters: the definition of the Go program %s has changed since (run: %s, now: %s).\n"+
			"Run the build of then, or start a new run with `%s run` and --param", run, id.Name, *o.Program, *id, id.Name)
	}
	return nil
}

// identity reports which program this is.
func (p *program) identity() (*pipeline.Program, error) {
	built, err := p.build()
	if err != nil {
		return nil, err
	}
	id, err := built.Functions().Identity()
	if err != nil {
		return nil, exit.Infrastructuref("%w", err)
	}
	return &id, nil
}
