package progress

import "github.com/modpipe/modpipe/pipeline"

// moduleNames returns the names of a pipeline's selected modules.
func moduleNames(p *pipeline.Pipeline) []string {
	var names []string
	for _, m := range p.Modules {
		if !m.Unselected {
			names = append(names, m.Name)
		}
	}
	return names
}
