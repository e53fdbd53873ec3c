package modpipe

import (
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/pipeline"
)

// Option sets how a module is run, retried, ordered and kept apart. Options in
// Builder.Defaults apply to every module, unless the module's own options override
// them.
type Option interface{ apply(*module) }

type option func(*module)

func (o option) apply(m *module) { o(m) }

// After waits for modules without reading their results. Optional(v) makes an
// optional need.
func After(needs ...Need) Option {
	at := caller()
	return option(func(m *module) {
		upstreams := make([]*upstream, 0, len(needs))
		for _, n := range needs {
			if n == nil || n.need() == nil {
				m.b.fault(at, "", "%s: After has a value that no Add has returned", m.name)
				continue
			}
			upstreams = append(upstreams, n.need())
		}
		switch len(upstreams) {
		case 0:
		case 1:
			m.take(upstreams[0], at, false)
		default:
			m.take(together(upstreams, at), at, false)
		}
	})
}

// If runs the module when cond is true, and skips it otherwise, for the reason
// that is given. A worker decides, when everything that the module needs has
// ended, and before an attempt is used up. Several conditions must all be
// true; the first one that is false gives the reason.
func If(cond Value[bool], otherwise string) Option {
	at := caller()
	return option(func(m *module) {
		if cond.up == nil {
			m.b.fault(at, "", "%s: If has a value that no Add has returned", m.name)
			return
		}
		m.take(cond.up, at, true)
		m.conds = append(m.conds, condition{cond.get, otherwise})
	})
}

// condition is what If says.
type condition struct {
	get       func(*inputs) (bool, error)
	otherwise string
}

// AlwaysRun runs the module once all its needs have ended, with any
// outcome, also after a failure or a cancellation.
func AlwaysRun() Option { return option(func(m *module) { m.node.Policy.AlwaysRun = true }) }

// IgnoreFailure keeps a failure of the module from failing the run. What
// reads its result does so by Optional.
func IgnoreFailure() Option { return option(func(m *module) { m.node.Policy.IgnoreFailure = true }) }

// SecretsInArtifacts stores the artifacts of the module and its cache directories also
// when they contain a secret of the module. Otherwise such files fail it.
func SecretsInArtifacts() Option {
	return option(func(m *module) { m.node.Policy.SecretsInArtifacts = true })
}

// IgnoreFailureIf is IgnoreFailure for the errors of a Go function for which
// ignore is true, once its retries are spent. Other failures, such as a panic,
// a time-out or a lost worker, fail the run. What reads the module's result
// does so by Optional.
func IgnoreFailureIf(ignore func(error) bool) Option {
	at := caller()
	return option(func(m *module) {
		switch {
		case ignore == nil:
			m.b.fault(at, "", "%s: IgnoreFailureIf has no function", m.name)
		case m.exec != nil && m.exec.command != nil:
			m.b.fault(at, "use IgnoreFailure, or a Go function that starts the process", "%s: IgnoreFailureIf is for Go functions, and this is a command", m.name)
		}
		m.node.Policy.IgnoreFailure, m.node.Policy.IgnoreIf = true, true
		m.ignoreIf = ignore
	})
}

// Timeout bounds every attempt, from its start; 0 = no bound. Without it, 6 h.
// The function's context is cancelled; one that goes on past the grace is abandoned.
func Timeout(d time.Duration) Option {
	return option(func(m *module) { m.node.Policy.Timeout, m.node.Policy.TimeoutByDefault = d, false })
}

// NotInParallel keeps modules that share a key from running at the same time
// in the run. Without a key, the module runs alone in its run.
func NotInParallel(keys ...string) Option {
	return option(func(m *module) {
		m.node.Policy.Exclusive = len(keys) == 0
		m.node.Policy.Keys = slices.Clone(keys)
	})
}

// NotInParallelInCluster keeps modules that share a key from running at the
// same time, in this run and in all others on the same NATS. Beside
// NotInParallel it adds to the keys.
func NotInParallelInCluster(keys ...string) Option {
	at := caller()
	return option(func(m *module) {
		if len(keys) == 0 {
			m.b.fault(at, "", "%s: NotInParallelInCluster has no key: nothing is alone in the cluster", m.name)
		}
		m.clusterKeys = slices.Clone(keys)
	})
}

// Retry says which ends of an attempt are tried again. Between them it waits
// Delay × 2^(n-1), at most MaxDelay, plus a jitter of up to a quarter of that.
// A panic is a bug and is not
// tried again, unless Panics is set.
type Retry struct {
	Attempts  int              // that run to an end, the first included
	Delay     time.Duration    // 0 = 1 s
	MaxDelay  time.Duration    // 0 = 1 min, or Delay where that is more
	If        func(error) bool // of a function: only errors for which it is true; nil = any
	ExitCodes []int            // of a command: only these; nil = any failure, and a time-out
	Panics    bool             // also a panic
}

func (r Retry) apply(m *module) {
	p := &m.node.Policy.Retry
	p.Attempts, p.ExitCodes = r.Attempts, slices.Clone(r.ExitCodes)
	if r.Delay != 0 {
		p.Delay = r.Delay
	}
	p.MaxDelay = max(p.MaxDelay, p.Delay)
	if r.MaxDelay != 0 {
		p.MaxDelay = r.MaxDelay
	}
	m.retryIf, m.retryPanics = r.If, r.Panics
}

// Requires lists the properties that a worker must have to run the module: all of
// them; case does not count. Several add up.
type Requires struct {
	OS, Arch string            // as Go names them
	Tools    []string          // on its PATH: "git", "go>=1.26"
	Tags     []string          // given to it with --tags
	Labels   map[string]string // given to it with --labels
	CPUs     int               // at least
	Memory   string            // at least: "512Mi", "16Gi"
	Slots    int               // how many of the worker's slots an attempt takes; 0 = 1
}

func (q Requires) apply(m *module) {
	r := &m.node.Requires
	if q.OS != "" {
		r.OS = q.OS
	}
	if q.Arch != "" {
		r.Arch = q.Arch
	}
	for _, s := range q.Tools {
		tool, err := pipeline.ParseTool(s)
		if err != nil {
			m.b.fault(m.at, "", "%s: tool: %v", m.name, err)
			continue
		}
		r.Tools = append(r.Tools, tool)
	}
	r.Tags = append(r.Tags, q.Tags...)
	for name, value := range q.Labels {
		r.Labels = slices.DeleteFunc(r.Labels, func(p pipeline.KeyValue) bool { return strings.EqualFold(p.Key, name) })
		r.Labels = append(r.Labels, pipeline.KeyValue{Key: name, Value: value})
	}
	r.CPUs = max(r.CPUs, q.CPUs)
	if q.Memory != "" {
		n, err := pipeline.ParseMemory(q.Memory)
		if err != nil {
			m.b.fault(m.at, "", "%s: memory: %v", m.name, err)
		}
		r.Memory = max(r.Memory, n)
	}
	if q.Slots != 0 {
		m.node.Slots = q.Slots
	}
}

// Limit is a counting limit: at most Max of the modules that name it run at
// the same time, in the run or in all runs on the same NATS. Two modules that
// give it two sizes or two scopes are a fault.
type Limit struct {
	Name    string
	Max     int
	Cluster bool // counts over all runs
}

func (l Limit) apply(m *module) {
	m.node.Policy.Limits = append(m.node.Policy.Limits, l.Name)
	first, ok := m.b.limits[l.Name]
	switch {
	case !ok:
		m.b.limits[l.Name] = limit{l.Max, l.Cluster, m.at}
	case first.max != l.Max:
		m.b.fault(m.at, "", "limit %q has two sizes: %d here, %d at %s", l.Name, l.Max, first.max, first.at)
	case first.cluster != l.Cluster:
		m.b.fault(m.at, "", "limit %q has two scopes: at %s it has another one", l.Name, first.at)
	}
}

// limit is a limit's size and scope, and who said so first.
type limit struct {
	max     int
	cluster bool
	at      callSite
}

// Info describes a module to people, and for the selection and order of modules.
type Info struct {
	Description  string
	Category     string        // for --category
	Priority     Priority      // orders ready modules, and never overrides needs
	Grace        time.Duration // for a function to return when its context is cancelled, for a command between TERM and KILL; 0 = 10 s
	QueueTimeout time.Duration // how long it waits while no capable worker lives; 0 = 5 min
}

// Priority orders ready modules.
type Priority = pipeline.Priority

// The priorities; Normal is the zero value.
const (
	Low      = pipeline.Low
	Normal   = pipeline.Normal
	High     = pipeline.High
	Critical = pipeline.Critical
)

func (i Info) apply(m *module) {
	n := &m.node
	if i.Description != "" {
		n.Description = i.Description
	}
	if i.Category != "" {
		n.Category = i.Category
	}
	if i.Priority != Normal {
		n.Policy.Priority = i.Priority
	}
	if i.Grace != 0 {
		n.Policy.Grace, m.ownGrace = i.Grace, true
	}
	if i.QueueTimeout != 0 {
		n.Policy.QueueTimeout = i.QueueTimeout
	}
}
