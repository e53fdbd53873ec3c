package pipeline

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Defaults of a module.
const (
	defaultTimeout      = 6 * time.Hour
	defaultGrace        = 10 * time.Second
	defaultQueueTimeout = 5 * time.Minute
	defaultMaxLosses    = 3
	defaultDelay        = time.Second
	defaultMaxDelay     = time.Minute
)

// decoder makes a Module of a declaration. Before the parameters are bound
// it is run for its faults only; what an expression will say is then unknown.
type decoder struct {
	*collector
	e      *evaluator
	tree   *node
	limits map[string]int

	consumeAt []*node // what module has decoded of artifacts: where each entry of Consume is
}

// word is the value of a text of the module; false when it is absent, faulty or not known yet.
func (d *decoder) word(n *node, s *shape, field string) (string, bool) {
	if !d.ok(n) || n.Kind != scalarNode {
		return "", false
	}
	if !hasExpression(n.Value) || s.reach < graph {
		return n.Value, true
	}
	text, known := d.textNode(n, d.e, field, s.reach).plain()
	if !known || !d.ok(n) {
		return "", false
	}
	if msg, hint := s.refuse(text); msg != "" {
		d.fault(n, hint, "%s: %s", field, msg)
		return "", false
	}
	return text, true
}

func (d *decoder) words(list *node, s *shape, field string) []string {
	var out []string
	for _, n := range list.elements() {
		if w, ok := d.word(n, s, field); ok {
			out = append(out, w)
		}
	}
	return out
}

// value is the text of a key of the module.
func (d *decoder) value(key string) string {
	f, _ := moduleShape.field(key)
	w, _ := d.word(d.tree.get(key), f.shape, key)
	return w
}

func (d *decoder) duration(parent *node, s *shape, key string, otherwise time.Duration) time.Duration {
	f, _ := s.field(key)
	w, ok := d.word(parent.get(key), f.shape, key)
	if !ok {
		return otherwise
	}
	v, _ := parseDuration(w) // checked by its shape
	return v
}

func (d *decoder) integer(parent *node, key string, otherwise int) int {
	if n := parent.get(key); d.ok(n) && n.Kind == scalarNode {
		return number(n)
	}
	return otherwise
}

func number(n *node) int {
	i, _ := strconv.Atoi(n.Value) // checked by its shape
	return i
}

// module decodes everything but the name, the needs and the matrix.
func (d *decoder) module() *Module {
	m := &Module{
		Description: d.value("description"),
		Category:    d.value("category"),
		Command:     d.command(),
		Func:        d.function(),
		Requires:    d.requirements(),
		Slots:       d.integer(d.tree, "slots", 1),
		Policy:      d.policy(),
	}
	m.If, m.IfAt = d.condition()
	d.files(m)
	d.secrets(m)
	if m.Command != nil {
		m.Requires.Env = d.requiredEnv(d.tree.get("pass-env"))
	}
	if m.Command != nil && m.Command.Shell != "" {
		m.Requires.Tools = addTools(m.Requires.Tools, Tool{Name: m.Command.Shell})
	}
	return m
}

// condition is the source of if, type-checked.
func (d *decoder) condition() (src, at string) {
	n := d.tree.get("if")
	if !d.ok(n) || n.Kind != scalarNode {
		return "", ""
	}
	src = n.Value
	where := func(offset int) position { return d.src.bare(n, offset) }
	if hasExpression(n.Value) {
		parts, unclosed := segments(strings.TrimSpace(n.Value))
		if unclosed >= 0 || len(parts) != 1 {
			d.fault(n, "", "if must be one expression, bare or one whole ${{ }}")
			return "", ""
		}
		src = parts[0].expr
		where = func(offset int) position { return d.src.expression(n, 0, offset, src) }
	}
	if n.Type == "bool" {
		src = strings.ToLower(src)
	}
	x, faults := d.e.compile(src, "if", ready, true)
	if len(faults) > 0 {
		d.exprFaults(n, faults, where)
		return "", ""
	}
	d.doubts(x, where)
	return strings.TrimSpace(src), d.src.where(where(0))
}

func (d *decoder) policy() Policy {
	timeout := d.tree.get("timeout")
	p := Policy{
		AlwaysRun:          d.flag(d.tree.get("always-run"), false),
		IgnoreFailure:      d.flag(d.tree.get("ignore-failure"), false),
		SecretsInArtifacts: d.flag(d.tree.get("secrets-in-artifacts"), false),
		Timeout:            d.duration(d.tree, moduleShape, "timeout", defaultTimeout),
		TimeoutByDefault:   timeout == nil,
		Grace:              d.duration(d.tree, moduleShape, "grace", defaultGrace),
		QueueTimeout:       d.duration(d.tree, moduleShape, "queue-timeout", defaultQueueTimeout),
		MaxLosses:          d.integer(d.tree, "max-losses", defaultMaxLosses),
		Retry:              d.retry(),
		Limits:             d.limitUses(),
		Priority:           priorities[d.value("priority")],
	}
	p.Exclusive, p.Keys, p.ClusterKeys = d.exclusion()
	return p
}

var priorities = map[string]Priority{"low": Low, "": Normal, "normal": Normal, "high": High, "critical": Critical}

func (d *decoder) retry() Retry {
	n := d.tree.get("retry")
	r := Retry{
		Attempts: d.integer(n, "attempts", 1),
		Delay:    d.duration(n, retryShape, "delay", defaultDelay),
		MaxDelay: d.duration(n, retryShape, "max-delay", defaultMaxDelay),
	}
	if n.get("max-delay") == nil {
		r.MaxDelay = max(r.MaxDelay, r.Delay)
	} else if r.MaxDelay < r.Delay && d.ok(n.get("max-delay")) {
		d.fault(n.get("max-delay"), "", "max-delay %s is below delay %s", r.MaxDelay, r.Delay)
	}
	codes := n.get("exit-codes")
	if codes != nil && d.ok(codes) && len(codes.elements()) == 0 {
		d.fault(codes, "", "exit-codes is empty: name one, or leave it out to retry any failure")
	}
	for _, code := range codes.elements() {
		if d.ok(code) && code.Kind == scalarNode {
			r.ExitCodes = append(r.ExitCodes, number(code))
		}
	}
	r.ExitCodes = sortedSet(r.ExitCodes)
	return r
}

func sortedSet[T cmp.Ordered](s []T) []T {
	slices.Sort(s)
	return slices.Compact(s)
}

func (d *decoder) exclusion() (alone bool, keys, cluster []string) {
	n := d.tree.get("not-in-parallel")
	if n == nil {
		return false, nil, nil
	}
	if n.Kind == scalarNode && n.Type == "bool" {
		return d.flag(n, false), nil, nil
	}
	keyShape := text("", graph)
	for _, item := range n.elements() {
		at := keyNode(item)
		k, ok := d.word(at, keyShape, "not-in-parallel")
		switch {
		case ok && strings.TrimSpace(k) == "":
			d.fault(at, "", "a key of not-in-parallel is empty")
		case ok:
			keys = append(keys, k)
			if ofCluster(item) {
				cluster = append(cluster, k)
			}
		}
	}
	return false, sortedSet(keys), sortedSet(cluster)
}

// keyNode is the name in a key of not-in-parallel, which has two spellings.
func keyNode(item *node) *node {
	if item.Kind == mapNode {
		return item.get("key")
	}
	return item
}

// ofCluster reports whether a key or a limit has the scope of the cluster.
func ofCluster(n *node) bool {
	scope := n.get("scope")
	return scope != nil && scope.Value == "cluster"
}

func (d *decoder) limitUses() []string {
	var names []string
	shape := patterned("", graph, namePattern, validName)
	for _, use := range d.tree.get("limit").elements() {
		at := use
		if use.Kind == mapNode {
			at = use.get("name")
		}
		name, ok := d.word(at, shape, "limit")
		if !ok {
			continue
		}
		if _, declared := d.limits[name]; !declared {
			if d.ok(use) && use.Kind == scalarNode {
				d.fault(at, d.hint(func() string { return knownOr(name, sortedKeys(d.limits), "limits") }), "limit %q is not declared in limits", name)
			}
			continue
		}
		names = append(names, name)
	}
	return sortedSet(names)
}
