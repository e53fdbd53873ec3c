package settings

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/modpipe/modpipe/internal/phrase"
)

// parseConfig reads the configuration file's keys, noting every fault.
func (b *Binder) parseConfig(path string, src []byte) map[string]configEntry {
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		b.Faultf("%s: %v", path, err)
		return nil
	}
	if len(doc.Content) == 0 {
		return nil // empty
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		b.Faultf("%s:%d:%d: the file must map flags to values", path, top.Line, top.Column)
		return nil
	}
	entries := map[string]configEntry{}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, val := top.Content[i], top.Content[i+1]
		place := fmt.Sprintf("%s:%d:%d", path, key.Line, key.Column)
		if !b.known[key.Value] || key.Value == "config" {
			b.Faultf("%s: unknown key %q%s", place, key.Value, phrase.DidYouMean(key.Value, slices.Sorted(maps.Keys(b.known))))
			continue
		}
		if _, twice := entries[key.Value]; twice {
			b.Faultf("%s: %q is set twice", place, key.Value)
			continue
		}
		values, ok := configValues(val)
		if !ok {
			b.Faultf("%s: %q needs a value, a list of values, or keys with values", place, key.Value)
			continue
		}
		entries[key.Value] = configEntry{filepath.Base(path), place, values}
	}
	return entries
}

// configValues returns the values of a flag in the form of the command line.
func configValues(n *yaml.Node) ([]string, bool) {
	switch n.Kind {
	case yaml.AliasNode:
		return configValues(n.Alias)
	case yaml.ScalarNode:
		return []string{n.Value}, n.Tag != "!!null"
	case yaml.SequenceNode:
		var values []string
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				return nil, false
			}
			values = append(values, item.Value)
		}
		return values, true
	case yaml.MappingNode:
		var values []string
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i+1].Kind != yaml.ScalarNode {
				return nil, false
			}
			values = append(values, n.Content[i].Value+"="+n.Content[i+1].Value)
		}
		return values, true
	case yaml.DocumentNode, yaml.StreamNode:
	}
	return nil, false
}
