package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// design is how the command of a module is meant to end, if it runs.
type design int

const (
	succeeds  design = iota
	retries          // fails with 75 up to attempt 2, of 4
	fails            // with 3, twice
	timesOut         // stays until its time-out
	isSkipped        // by its condition
)

// plan is a random pipeline with its expected results.
type plan struct {
	run      string
	failFast bool
	limit    int // of the limit named "few"
	modules  []module
}

// module is one of a plan's. Its needs come before it.
type module struct {
	name     string
	needs    []need
	design   design
	ignore   bool // ignore-failure
	always   bool // always-run
	keys     []string
	shared   []string // keys of cluster scope
	limited  bool     // by the plan's limit
	wide     bool     // by a limit of cluster scope
	alone    bool
	hold     time.Duration
	output   int // bytes
	stubborn bool
	shell    bool // its command is a child of a shell
}

type need struct {
	name     string
	optional bool
}

// wideLimit is the size of the limit that all runs share.
const wideLimit = 2

// features are the features of the programs under test.
type features struct {
	clusterKeys bool
}

// makePlan draws a pipeline: a chain, a fan, diamonds, or another graph.
func makePlan(rng *rand.Rand, run string, f features) plan {
	p := plan{run: run, failFast: rng.IntN(2) == 0, limit: 1 + rng.IntN(3)}
	shape := rng.IntN(4)
	n := 3 + rng.IntN(8)
	for i := range n {
		m := module{name: fmt.Sprintf("m%d", i), hold: holds(rng)}
		for _, k := range shapeNeeds(rng, shape, i) {
			m.needs = append(m.needs, need{p.modules[k].name, rng.IntN(6) == 0})
		}
		m.decorate(rng, f)
		p.modules = append(p.modules, m)
	}
	p.design(rng)
	return p
}

// holds draws how long a command runs. Most run for a short time. Some run long compared
// with the time after which a silent worker is lost.
func holds(rng *rand.Rand) time.Duration {
	if rng.IntN(6) == 0 {
		return time.Second + time.Duration(rng.IntN(4000))*time.Millisecond
	}
	return time.Duration(20+rng.IntN(400)) * time.Millisecond
}

// shapeNeeds returns the modules that the next one needs, of the i before it.
func shapeNeeds(rng *rand.Rand, shape, i int) []int {
	switch {
	case i == 0:
		return nil
	case shape == 0: // a chain
		return []int{i - 1}
	case shape == 1: // a fan
		return []int{0}
	case shape == 2 && i >= 3: // diamonds
		if i%3 == 0 {
			return []int{i - 1, i - 2}
		}
		return []int{i - i%3}
	case shape == 2:
		return []int{0}
	}
	var needs []int
	for range rng.IntN(4) {
		if k := rng.IntN(i); !slices.Contains(needs, k) {
			needs = append(needs, k)
		}
	}
	return needs
}

// decorate gives a module keys and other properties that do not change how it ends.
func (m *module) decorate(rng *rand.Rand, f features) {
	one := func(in int) bool { return rng.IntN(in) == 0 }
	if one(3) {
		m.keys = append(m.keys, "k1")
	}
	if one(6) {
		m.keys = append(m.keys, "k2")
	}
	if f.clusterKeys && one(4) {
		m.shared = append(m.shared, fmt.Sprintf("shared%d", 1+rng.IntN(2)))
	}
	m.limited = one(4)
	m.wide = f.clusterKeys && one(8)
	m.alone = one(15)
	m.stubborn = one(10)
	m.shell = one(2)
	switch {
	case one(12):
		m.output = 1 << 20
	case one(4):
		m.output = 300 << 10
	}
}

// design decides how modules end. Under fail-fast at most one of them fails, so that the
// fates of the others are known.
func (p *plan) design(rng *rand.Rand) {
	failed := false
	for i := range p.modules {
		m := &p.modules[i]
		m.always = len(m.needs) > 0 && rng.IntN(8) == 0
		switch rng.IntN(10) {
		case 0, 1:
			m.design = retries
		case 2:
			m.design = fails
		case 3:
			m.design = timesOut
		case 4:
			m.design = isSkipped
		}
		m.ignore = (m.design == fails || m.design == timesOut) && rng.IntN(2) == 0
		if m.bad() && (m.always || p.failFast && failed) {
			m.design = succeeds
		}
		failed = failed || m.bad()
	}
}

func (m *module) bad() bool { return (m.design == fails || m.design == timesOut) && !m.ignore }

// keyed reports whether the module holds a granted lock. In a plan with a module that runs
// alone, all modules do.
func (p *plan) keyed(m *module) bool {
	return len(m.keys) > 0 || len(m.shared) > 0 || m.limited || m.wide || slices.ContainsFunc(p.modules, func(o module) bool { return o.alone })
}

// module finds one by its name.
func (p *plan) module(name string) *module {
	i := slices.IndexFunc(p.modules, func(m module) bool { return m.name == name })
	if i < 0 {
		return nil
	}
	return &p.modules[i]
}
