package progress

import "github.com/modpipe/modpipe/pipeline"

// moduleNames are the names of a pipeline's modules that take part.
func moduleNames(p *pipeline.Pipeline) []string {
	var names []string
	for _, m := range p.Modules {
		if !m.Unselected {
			names = append(names, m.Name)
		}
	}
	return names
}
