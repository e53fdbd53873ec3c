package jobs

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/modpipe/modpipe/pipeline"
)

// Missing says in words what c lacks of r, one phrase a requirement; none
// when c offers all of it.
func (c Capabilities) Missing(r pipeline.Requirements) []string {
	var missing []string
	lack := func(format string, args ...any) { missing = append(missing, fmt.Sprintf(format, args...)) }
	if r.OS != "" && !strings.EqualFold(r.OS, c.OS) {
		lack("os %s", r.OS)
	}
	if r.Arch != "" && !strings.EqualFold(r.Arch, c.Arch) {
		lack("arch %s", r.Arch)
	}
	for _, t := range r.Tools {
		if text := c.missingTool(t); text != "" {
			lack("%s", text)
		}
	}
	for _, tag := range r.Tags {
		if !slices.ContainsFunc(c.Tags, func(have string) bool { return strings.EqualFold(have, tag) }) {
			lack("tag %s", tag)
		}
	}
	for _, l := range r.Labels {
		if have, ok := label(c.Labels, l.Key); !ok || !strings.EqualFold(have, l.Value) {
			lack("label %s=%s", l.Key, l.Value)
		}
	}
	missing = append(missing, c.missingValues(r)...)
	if p := r.Program; p != nil {
		if text := missingProgram(*p, c.Program); text != "" {
			lack("%s", text)
		}
	}
	if !c.holds(r.Repository) {
		lack("the files of %s (its --workspace holds %s)", r.Repository, c.Repository)
	}
	if r.CPUs > c.CPUs {
		lack("%d cpus (it has %d)", r.CPUs, c.CPUs)
	}
	if r.Memory > c.Memory {
		lack("%d MiB of memory (it has %d)", r.Memory>>20, c.Memory>>20)
	}
	return missing
}

// holds reports whether a worker can run what takes the files of a repository
// along: it makes a directory with them, or has them in its workspace.
func (c Capabilities) holds(repository string) bool {
	return c.Repository == "" || repository == "" || c.Repository == repository
}

// MatchVariable reports whether a name of a variable is, or fits, a pattern such as
// AWS_*. A pattern that is malformed fits none.
func MatchVariable(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// missingValues says which secrets and variables a worker lacks.
func (c Capabilities) missingValues(r pipeline.Requirements) (missing []string) {
	for _, name := range r.Secrets {
		if !slices.Contains(c.Secrets, name) {
			missing = append(missing, "secret "+name)
		}
	}
	for _, name := range r.Env {
		if !slices.ContainsFunc(c.Env, func(pattern string) bool { return MatchVariable(pattern, name) }) {
			missing = append(missing, fmt.Sprintf("variable %s (worker --pass-env)", name))
		}
	}
	return missing
}

// missingTool says what a worker lacks of a tool; empty when it has it.
func (c Capabilities) missingTool(want pipeline.Tool) string {
	version, ok := c.Tools[want.Name]
	switch {
	case !ok:
		return fmt.Sprintf("tool %s", want)
	case want.Min != "" && version == "":
		return fmt.Sprintf("tool %s (its %s does not say its version)", want, want.Name)
	case want.Min != "" && CompareVersions(version, want.Min) < 0:
		return fmt.Sprintf("tool %s (it has %s)", want, version)
	}
	return ""
}

// missingProgram says what a worker lacks of a program; empty when it is that one.
func missingProgram(want pipeline.Program, have *pipeline.Program) string {
	switch {
	case have == nil:
		return "program " + want.String()
	case have.Name != want.Name:
		return fmt.Sprintf("program %s (it is %s)", want, have)
	case have.Build != want.Build:
		return fmt.Sprintf("program %s (it has build %s)", want, pipeline.Short(have.Build))
	case have.Graph != want.Graph:
		return fmt.Sprintf("program %s with the graph %s (its definition makes the graph %s: does it read flags, files or the environment?)",
			want, pipeline.Short(want.Graph), pipeline.Short(have.Graph))
	}
	return ""
}

// Closer reports whether c comes closer to r than other does: it lacks less,
// or what it lacks of the program is less: the graph, the build, all of it.
func (c Capabilities) Closer(other Capabilities, r pipeline.Requirements) bool {
	mine, others := len(c.Missing(r)), len(other.Missing(r))
	if mine != others || r.Program == nil {
		return mine < others
	}
	return programDistance(*r.Program, c.Program) < programDistance(*r.Program, other.Program)
}

// programDistance is how far a worker is from a program; 0 when it is that one.
func programDistance(want pipeline.Program, have *pipeline.Program) int {
	switch {
	case have == nil:
		return 4
	case have.Name != want.Name:
		return 3
	case have.Build != want.Build:
		return 2
	case have.Graph != want.Graph:
		return 1
	}
	return 0
}

// Offer reports whether c has all of r.
func (c Capabilities) Offer(r pipeline.Requirements) bool { return len(c.Missing(r)) == 0 }

func label(labels map[string]string, name string) (string, bool) {
	if v, ok := labels[name]; ok {
		return v, true
	}
	for k, v := range labels {
		if strings.EqualFold(k, name) {
			return v, true
		}
	}
	return "", false
}

// CompareVersions compares dotted numbers part by part, as numbers; a part
// that is missing counts as 0, so 1.26 equals 1.26.0.
func CompareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		if d := versionPart(as, i) - versionPart(bs, i); d != 0 {
			return d
		}
	}
	return 0
}

func versionPart(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	n, err := strconv.Atoi(parts[i])
	if err != nil {
		return 0
	}
	return n
}
