package tables

import (
	"io"
	"strconv"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/report"
)

// Artifact is an artifact as the list shows it.
type Artifact struct {
	Module string `json:"module"`
	report.Artifact
	Expired bool `json:"expired"` // the files are not stored any more
}

// WriteArtifacts writes the table of `runs artifacts list`.
func WriteArtifacts(w io.Writer, rows []Artifact) {
	g := console.Table{Head: []string{"MODULE", "ARTIFACT", "FILES", "SIZE"}}
	for _, r := range rows {
		size := phrase.Bytes(r.Bytes)
		if r.Expired {
			size += " (expired)"
		}
		g.Add(r.Module, r.Name, strconv.Itoa(r.Files), size)
	}
	g.Write(w)
}
