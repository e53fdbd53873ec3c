package worker

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modpipe/modpipe/internal/exec/process"
	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

const (
	// probeLimit is how long a tool may take to print its version.
	probeLimit = 5 * time.Second
	// probeOutput is how many bytes of its output are searched.
	probeOutput = 64 << 10
)

// toolbox has what the machine offers: its properties and its tools. Names are in
// lower case.
type toolbox struct {
	fixed    jobs.Capabilities // all but the tools
	declared map[string]string // name → version, "" = not declared
	onPath   map[string]string // name → the first file on PATH

	mu     sync.Mutex
	probes map[string]func() string // name → its version, by running it once
}

func newToolbox(cfg Config, program *pipeline.Program) *toolbox {
	t := &toolbox{
		fixed: jobs.Capabilities{
			OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: machine.CPUs(), Memory: machine.Memory(),
			Labels: map[string]string{}, Program: program, Repository: cfg.Repository, Secrets: cfg.Secrets.Names(), Env: cfg.allowed(),
		},
		declared: map[string]string{},
		onPath:   map[string]string{},
		probes:   map[string]func() string{},
	}
	for _, tag := range cfg.Tags {
		t.fixed.Tags = append(t.fixed.Tags, strings.ToLower(tag))
	}
	for name, value := range cfg.Labels {
		t.fixed.Labels[strings.ToLower(name)] = strings.ToLower(value)
	}
	for _, word := range slices.Concat(cfg.Tools, cfg.OnlyTools) {
		name, version, _ := strings.Cut(word, "=")
		t.declared[strings.ToLower(name)] = version
	}
	search := scanPath(process.SearchPath())
	for name, file := range search {
		if _, ok := t.declared[name]; ok || cfg.OnlyTools == nil {
			t.onPath[name] = file
		}
	}
	return t
}

// base is what the machine offers beside tools. The maps in it are shared, and must
// not be changed.
func (t *toolbox) base() jobs.Capabilities { return t.fixed }

func (t *toolbox) has(name string) bool {
	if _, ok := t.declared[name]; ok {
		return true
	}
	file, ok := t.onPath[name]
	if !ok {
		return false
	}
	_, err := process.Executable(file)
	return err == nil
}

// all returns the names of all tools.
func (t *toolbox) all() map[string]string {
	names := maps.Clone(t.declared)
	for name := range t.onPath {
		if _, ok := names[name]; !ok && t.has(name) {
			names[name] = ""
		}
	}
	return names
}

// mustAsk reports whether a tool has to be run to know its version.
func (t *toolbox) mustAsk(tools []pipeline.Tool) bool {
	return slices.ContainsFunc(tools, func(tool pipeline.Tool) bool {
		t.mu.Lock()
		_, asked := t.probes[tool.Name]
		t.mu.Unlock()
		return tool.Min != "" && !asked && t.declared[tool.Name] == "" && t.onPath[tool.Name] != ""
	})
}

// version is the version that a requirement compares. It is empty, and the tool is not
// run, when the requirement compares none.
func (t *toolbox) version(ctx context.Context, tool pipeline.Tool) (version string, ok bool) {
	if !t.has(tool.Name) {
		return "", false
	}
	if v := t.declared[tool.Name]; v != "" || tool.Min == "" {
		return v, true
	}
	file, ok := t.onPath[tool.Name]
	if !ok {
		return "", true
	}
	t.mu.Lock()
	ask, ok := t.probes[tool.Name]
	if !ok {
		ask = sync.OnceValue(func() string { return probe(ctx, file) })
		t.probes[tool.Name] = ask
	}
	t.mu.Unlock()
	return ask(), true
}

// scanPath maps the lower-cased names on a PATH to the first file of each.
func scanPath(path string) map[string]string {
	found := map[string]string{}
	for _, dir := range filepath.SplitList(path) {
		entries, err := os.ReadDir(dir)
		if err != nil || !filepath.IsAbs(dir) {
			continue
		}
		for _, e := range entries {
			name := strings.ToLower(e.Name())
			if runtime.GOOS == "windows" {
				name = strings.TrimSuffix(name, filepath.Ext(name))
			}
			if _, ok := found[name]; !ok && !e.IsDir() {
				found[name] = filepath.Join(dir, e.Name())
			}
		}
	}
	return found
}

// probe runs a tool and returns its version: the first dotted number that it prints.
func probe(ctx context.Context, file string) string {
	for _, word := range []string{"--version", "version"} {
		if v := firstVersion(process.Output(ctx, probeLimit, probeOutput, file, word)); v != "" {
			return v
		}
	}
	return ""
}

func firstVersion(text []byte) string {
	return string(regexp.MustCompile(`[0-9]+(\.[0-9]+)+`).Find(text))
}
