package tables

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// Worker is a worker as -o json has it.
type Worker struct {
	Name     string       `json:"name"`
	Host     string       `json:"host"`
	PID      int          `json:"pid"`
	Version  string       `json:"version"`
	Slots    int          `json:"slots"`
	Used     int          `json:"used"`
	Draining bool         `json:"draining"`
	Unable   string       `json:"unable,omitempty"` // why it takes no attempts
	Started  time.Time    `json:"started"`
	Running  []WorkerRun  `json:"running"`
	Offers   Capabilities `json:"capabilities"`
}

// WorkerRun is an attempt that a worker runs.
type WorkerRun struct {
	Run     jobs.RunID    `json:"run"`
	Module  jobs.ModuleID `json:"token"`
	Attempt jobs.Attempt  `json:"attempt"`
}

// Capabilities are capabilities as -o json has them.
type Capabilities struct {
	OS      string            `json:"os"`
	Arch    string            `json:"arch"`
	CPUs    int               `json:"cpus"`
	Memory  int64             `json:"memory"`
	Program *Program          `json:"program,omitempty"` // whose Go functions it has
	Tools   map[string]string `json:"tools"`
	Tags    []string          `json:"tags"`
	Labels  map[string]string `json:"labels"`
	Secrets []string          `json:"secrets,omitempty"` // names of those that it has itself
}

// Program is a program as -o json has it: digests are of its executable,
// and of the graph that its definition makes.
type Program struct {
	Name  string `json:"name"`
	Build string `json:"build"`
	Graph string `json:"graph"`
}

// NewCapabilities describes what a worker offers.
func NewCapabilities(c jobs.Capabilities) Capabilities {
	s := Capabilities{c.OS, c.Arch, c.CPUs, c.Memory, (*Program)(c.Program), c.Tools, c.Tags, c.Labels, c.Secrets}
	if s.Tools == nil {
		s.Tools = map[string]string{}
	}
	if s.Tags == nil {
		s.Tags = []string{}
	}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	return s
}

// NewWorker describes a live worker.
func NewWorker(w *jobs.WorkerInfo) Worker {
	row := Worker{
		Name: w.Name, Host: w.Host, PID: w.PID, Version: w.Version, Slots: w.Slots, Used: w.Used,
		Draining: w.Draining, Unable: w.Unable, Started: w.Started, Running: []WorkerRun{}, Offers: NewCapabilities(w.Capabilities),
	}
	for _, r := range w.Running {
		row.Running = append(row.Running, WorkerRun{Run: r.Run, Module: r.Module, Attempt: r.Attempt})
	}
	return row
}

// programText is the program of a worker, and which graph it has where
// another worker's program has a different one.
func programText(of Worker, all []Worker) string {
	p := of.Offers.Program
	if p == nil {
		return "-"
	}
	text := pipeline.Program(*p).String()
	if slices.ContainsFunc(all, func(r Worker) bool {
		other := r.Offers.Program
		return other != nil && other.Build == p.Build && other.Graph != p.Graph
	}) {
		text += " (graph " + pipeline.Short(p.Graph) + ")"
	}
	return text
}

func runningText(r Worker) string {
	var parts []string
	for _, x := range r.Running {
		parts = append(parts, fmt.Sprintf("%s/%s", x.Run, x.Module))
	}
	text := phrase.OrDash(strings.Join(parts, " "))
	if r.Unable != "" {
		text += " (takes no attempts: " + r.Unable + ")"
	}
	if r.Draining {
		return "draining: " + text
	}
	return text
}

// WriteWorkers writes the table of `workers list`.
func WriteWorkers(w io.Writer, rows []Worker) {
	g := console.Table{Head: []string{"NAME", "SLOTS", "OS/ARCH", "PROGRAM", "TAGS", "LABELS", "VERSION", "RUNNING"}}
	for _, r := range rows {
		g.Add(r.Name, fmt.Sprintf("%d/%d", r.Used, r.Slots), r.Offers.OS+"/"+r.Offers.Arch, programText(r, rows),
			phrase.OrDash(strings.Join(r.Offers.Tags, ",")), phrase.OrDash(phrase.Labels(r.Offers.Labels)), phrase.OrDash(r.Version), runningText(r))
	}
	g.Write(w)
}

// fewTools is how many tools are shown by name.
const fewTools = 40

// Write writes them for people.
func (c *Capabilities) Write(w io.Writer) {
	line := func(what, text string) { console.Writef(w, "%-8s %s\n", what, safetext.Line(phrase.OrDash(text))) }
	line("os", c.OS)
	line("arch", c.Arch)
	if c.Program != nil {
		line("program", fmt.Sprintf("%s, graph %s", pipeline.Program(*c.Program), pipeline.Short(c.Program.Graph)))
	}
	line("cpus", fmt.Sprint(c.CPUs))
	line("memory", fmt.Sprintf("%d MiB", c.Memory>>20))
	line("tags", strings.Join(c.Tags, ", "))
	line("labels", phrase.Labels(c.Labels))
	if len(c.Secrets) > 0 {
		line("secrets", strings.Join(c.Secrets, ", "))
	}
	var tools []string
	for _, t := range slices.Sorted(maps.Keys(c.Tools)) {
		if v := c.Tools[t]; v != "" {
			t += " " + v
		}
		tools = append(tools, t)
	}
	if n := len(tools); n > fewTools {
		line("tools", fmt.Sprintf("%d on PATH; -o name lists them", n))
		return
	}
	line("tools", strings.Join(tools, ", "))
}
