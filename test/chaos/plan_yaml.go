package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modpipe/modpipe/test/chaos/watch"
)

// places are the files that commands of a phase need.
type places struct {
	member string // the program
	socket string // of the recorder
}

// yaml returns the plan as a pipeline file.
func (p *plan) yaml(at places) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: chaos\nfail-fast: %v\n", p.failFast)
	fmt.Fprintf(&b, "env: {CHAOS: %q, MEMBER: %q}\n", at.socket, at.member)
	fmt.Fprintf(&b, "limits: {few: {max: %d}", p.limit)
	if slices.ContainsFunc(p.modules, func(m module) bool { return m.wide }) {
		fmt.Fprintf(&b, ", wide: {max: %d, scope: cluster}", wideLimit)
	}
	b.WriteString("}\n")
	fmt.Fprintf(&b, "defaults: {timeout: 10m, queue-timeout: 1h, max-losses: 1000, grace: 400ms}\n")
	b.WriteString("modules:\n")
	for i := range p.modules {
		p.moduleYAML(&b, &p.modules[i], at)
	}
	return b.String()
}

func (p *plan) moduleYAML(b *strings.Builder, m *module, at places) {
	fmt.Fprintf(b, "  %s:\n", m.name)
	line := func(format string, args ...any) { fmt.Fprintf(b, "    "+format+"\n", args...) }
	if len(m.needs) > 0 {
		var needs []string
		for _, n := range m.needs {
			needs = append(needs, fmt.Sprintf("{module: %s, optional: %v}", n.name, n.optional))
		}
		line("needs: [%s]", strings.Join(needs, ", "))
	}
	if m.alone {
		line("not-in-parallel: true")
	} else if keys := m.keyWords(); len(keys) > 0 {
		line("not-in-parallel: [%s]", strings.Join(keys, ", "))
	}
	if limits := m.limitWords(); len(limits) > 0 {
		line("limit: [%s]", strings.Join(limits, ", "))
	}
	if m.always {
		line("always-run: true")
	}
	if m.ignore {
		line("ignore-failure: true")
	}
	switch m.design {
	case retries:
		line("retry: {attempts: 4, delay: 50ms, exit-codes: [75]}")
	case fails:
		line("retry: {attempts: 2, delay: 50ms}")
	case timesOut:
		line("timeout: 400ms")
	case isSkipped:
		line("if: 1 == 2")
	case succeeds:
	}
	args := p.args(m)
	if m.shell {
		line("run: |")
		line("  \"$MEMBER\" %s &", strings.Join(args, " "))
		line("  wait $!")
		return
	}
	line("command: [%q, %s]", at.member, quoted(args))
}

func quoted(words []string) string {
	var all []string
	for _, w := range words {
		all = append(all, strconv.Quote(w))
	}
	return strings.Join(all, ", ")
}

func (m *module) keyWords() []string {
	words := append([]string(nil), m.keys...)
	for _, k := range m.shared {
		words = append(words, fmt.Sprintf("{key: %s, scope: cluster}", k))
	}
	return words
}

func (m *module) limitWords() []string {
	var words []string
	if m.limited {
		words = append(words, "few")
	}
	if m.wide {
		words = append(words, "wide")
	}
	return words
}

// args returns the arguments of the module's member.
func (p *plan) args(m *module) []string {
	hold := m.hold
	var args []string
	switch m.design {
	case retries:
		args = append(args, "-code=75", "-fail-until=2")
	case fails:
		args = append(args, "-code=3")
	case timesOut:
		hold = time.Hour
	case succeeds, isSkipped:
	}
	args = append(args, "-hold="+hold.String())
	if m.output > 0 {
		args = append(args, fmt.Sprintf("-output=%d", m.output))
	}
	if m.stubborn {
		args = append(args, "-stubborn")
	}
	for _, l := range p.locks(m) {
		args = append(args, fmt.Sprintf("-lock=%s,%d,%d", l.Name, l.Capacity, l.Weight))
	}
	for _, n := range m.needs {
		args = append(args, fmt.Sprintf("-big=%s=%d", n.name, p.module(n.name).output))
	}
	return args
}

// wholeRun is the capacity of a run in which a module may run alone.
const wholeRun = 1 << 20

// locks returns the locks that the module holds while it runs.
func (p *plan) locks(m *module) []watch.Lock {
	var locks []watch.Lock
	for _, k := range m.keys {
		if !m.alone { // which replaces keys
			locks = append(locks, watch.Lock{Name: p.run + "/" + k, Capacity: 1, Weight: 1})
		}
	}
	for _, k := range m.shared {
		if !m.alone {
			locks = append(locks, watch.Lock{Name: k, Capacity: 1, Weight: 1})
		}
	}
	if m.limited {
		locks = append(locks, watch.Lock{Name: p.run + "/few", Capacity: p.limit, Weight: 1})
	}
	if m.wide {
		locks = append(locks, watch.Lock{Name: "wide", Capacity: wideLimit, Weight: 1})
	}
	for _, o := range p.modules {
		if o.alone {
			weight := 1
			if m.alone {
				weight = wholeRun
			}
			return append(locks, watch.Lock{Name: p.run, Capacity: wholeRun, Weight: weight})
		}
	}
	return locks
}
