package pipeline

import "slices"

// maxMerged bounds the values of all modules, each with the defaults, and of
// all members of a family: a small file can ask for billions.
const maxMerged = 2_000_000

// withDefaults merges the defaults into every module.
func (c *collector) withDefaults(root *node) *node {
	defaults, modules := root.get("defaults"), root.get("modules")
	if defaults == nil || defaults.Kind != mapNode || modules == nil || modules.Kind != mapNode {
		return root
	}
	allowed := &node{Kind: mapNode}
	for i, k := range defaults.Keys {
		if f, ok := defaultsShape.field(k.Value); ok && f.state == supported {
			allowed.Keys, allowed.Items = append(allowed.Keys, k), append(allowed.Items, defaults.Items[i])
		}
	}
	if n := allowed.size(); n*len(modules.Items) > maxMerged {
		c.fault(defaults, "shorten the defaults, or split the pipeline", "defaults of %d values for %d modules make more than %d values", n, len(modules.Items), maxMerged)
		return root
	}
	merged := *modules
	merged.Items = make([]*node, len(modules.Items))
	for i, m := range modules.Items {
		merged.Items[i] = merge(allowed, m)
	}
	out := *root
	out.Items = slices.Clone(root.Items)
	out.Items[root.index("modules")] = &merged
	return &out
}

// size counts the keys and values of a tree.
func (n *node) size() int {
	total := 1
	for i, item := range n.Items {
		total += item.size()
		if n.Kind == mapNode {
			total += n.Keys[i].size()
		}
	}
	return total
}

// merge lays own over base: mappings merge, lists and scalars replace, null removes.
func merge(base, own *node) *node {
	if own.Kind != mapNode || base.Kind != mapNode || own.Tag != "" {
		return own
	}
	mine, theirs := own.indexes(), base.indexes()
	out := &node{Kind: mapNode, Line: own.Line, Col: own.Col}
	for i, k := range base.Keys {
		j, ok := mine[k.Value]
		switch {
		case !ok:
			out.Keys, out.Items = append(out.Keys, k), append(out.Items, base.Items[i])
		case own.Items[j].Kind != nullNode || own.Items[j].Value == "~" && base.Items[i].Kind == scalarNode:
			out.Keys, out.Items = append(out.Keys, own.Keys[j]), append(out.Items, merge(base.Items[i], own.Items[j]))
		}
	}
	for j, k := range own.Keys {
		if _, ok := theirs[k.Value]; !ok {
			out.Keys, out.Items = append(out.Keys, k), append(out.Items, own.Items[j])
		}
	}
	return out
}

// indexes are those of the keys in a mapping.
func (n *node) indexes() map[string]int {
	at := make(map[string]int, len(n.Keys))
	for i, k := range n.Keys {
		at[k.Value] = i
	}
	return at
}
