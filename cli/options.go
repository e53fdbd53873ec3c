package cli

import (
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/report"
)

// Options are those of a run that a program starts by Run. The zero value
// runs here, as `run` without flags would. The environment counts as for run.
type Options struct {
	Params                 map[string]string // --param
	Labels                 map[string]string // --label
	Server                 string            // --server: a NATS server; "" = inside this process
	MaxParallel            int               // --max-parallel: slots of the worker inside this process; 0 = as many as cores
	Local                  int               // --local: with a server, also work here with so many slots
	Workspace              string            // --workspace
	Store                  string            // --store
	RunID                  string            // --run-id
	Isolated               bool              // --isolated
	Cache                  string            // --cache: read-write, read, write or off; "" = read-write
	CacheNamespace         string            // --cache-namespace; "" = main
	CacheFrom              []string          // --cache-from
	Refresh                bool              // --refresh
	Only, Skip             []string          // --only, --skip
	Category, SkipCategory []string          // --category, --skip-category
	NoNeeds                bool              // --no-needs
	Tags                   []string          // --tags: of the worker inside this process
	Tools                  []string          // --tools: of that worker
	Offers                 map[string]string // --labels: of that worker
	Secrets                []string          // --secret: NAME or NAME=@FILE, never a value
	SecretsDir             string            // --secrets-dir
	SecretRules            string            // --secret-rules
	Progress               io.Writer         // receives the progress as text; nil = none
}

// Run runs a pipeline to its end and returns the report. A run that has failed
// or was cancelled has a report with that status; the error is the reason why the
// run has no verdict. When ctx ends, the run is given up.
func Run(ctx context.Context, name string, define func(*modpipe.Builder), o Options) (*report.Report, error) {
	a := newProgramApp(name, define, Process{Env: os.Environ(), Stdout: io.Discard, Stderr: &bytes.Buffer{}})
	if o.Progress != nil {
		a.Stderr = o.Progress
	}
	ro := &runOptions{}
	if err := prepareRun(a, o, ro); err != nil { //nolint:contextcheck // commands take theirs from cobra
		return nil, err
	}
	rep, err := runPipeline(ctx, a, name, ro)
	if rep != nil && rep.Status != report.RunRunning {
		return rep, nil
	}
	if err == nil {
		err = errStopped
	}
	return rep, err
}

// prepareRun sets ro and the settings of a to o, and what o leaves open to what
// the environment and the configuration file say.
func prepareRun(a *app, o Options, ro *runOptions) error {
	root := programRoot(a, ro)
	cmd, _, err := root.Find([]string{"run"})
	if err != nil {
		return err
	}
	a.bind.Adopt(root)
	_ = cmd.InheritedFlags() // adds those of root to those of the command
	for _, flag := range o.apply(a, ro) {
		a.bind.Given(cmd, flag)
	}
	return a.prepare(cmd, nil, nil, func() []string { return ro.faults(a) })
}

// apply sets to and the settings of a as o asks. It returns the flags that o
// replaces.
func (o Options) apply(a *app, to *runOptions) (flags []string) {
	given := func(flag string, is bool) bool {
		if is {
			flags = append(flags, flag)
		}
		return is
	}
	text := func(flag, value string, field *string) {
		if given(flag, value != "") {
			*field = value
		}
	}
	number := func(flag string, value int, field *int) {
		if given(flag, value > 0) {
			*field = value
		}
	}
	pairs := func(flag string, value map[string]string, field *[]settings.Pair) {
		if given(flag, len(value) > 0) {
			*field = sortedPairs(value)
		}
	}
	list := func(flag string, value []string, field *[]string) {
		if given(flag, len(value) > 0) {
			*field = value
		}
	}
	a.set.Progress = "quiet"
	if o.Progress != nil {
		a.set.Progress = "plain"
	}
	given("progress", true)
	text("server", o.Server, &a.set.Server)
	text("workspace", o.Workspace, &to.Workspace)
	text("store", o.Store, &to.Dir)
	text("run-id", o.RunID, &to.id)
	text("cache", o.Cache, &to.cache.Mode)
	text("cache-namespace", o.CacheNamespace, &to.cache.Namespace)
	list("cache-from", words(o.CacheFrom), &to.cache.From)
	number("max-parallel", o.MaxParallel, &to.maxParallel)
	number("local", o.Local, &to.local)
	pairs("param", o.Params, &to.params)
	pairs("label", o.Labels, &to.labels)
	list("only", o.Only, &to.selection.Only)
	list("skip", o.Skip, &to.selection.Skip)
	list("category", o.Category, &to.selection.Category)
	list("skip-category", o.SkipCategory, &to.selection.SkipCategory)
	list("tags", words(o.Tags), &to.Offers.Tags)
	list("tools", words(o.Tools), &to.Offers.Tools)
	list("secret", o.Secrets, &to.secrets.Secrets)
	text("secrets-dir", o.SecretsDir, &to.secrets.Dir)
	text("secret-rules", o.SecretRules, &to.secrets.Rules)
	var offers []string
	for _, p := range sortedPairs(o.Offers) {
		offers = append(offers, p.Key+"="+p.Value)
	}
	list("labels", offers, &to.Offers.Labels)
	if given("no-needs", o.NoNeeds) {
		to.selection.NoNeeds = true
	}
	if given("refresh", o.Refresh) {
		to.cache.Refresh = true
	}
	if given("isolated", o.Isolated) {
		to.files.isolated = true
	}
	return flags
}

func sortedPairs(m map[string]string) (pairs []settings.Pair) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		pairs = append(pairs, settings.Pair{Key: strings.TrimSpace(key), Value: m[key]})
	}
	return pairs
}

// words are the parts of a list whose items may hold several, between commas.
func words(list []string) (parts []string) {
	for part := range strings.SplitSeq(strings.Join(list, ","), ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}
