package client

import (
	"cmp"
	"io"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/lines"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/jobs"
)

// lineSplitter joins the chunks of several modules to lines.
type lineSplitter struct {
	w       io.Writer
	modules *logModules
	names   map[jobs.ModuleID]string
	width   int
	partial map[lineKey]*lines.Joiner
	order   []lineKey // of partial, by first appearance
}

type lineKey struct {
	id     jobs.AttemptID
	stream jobs.Stream
}

func newLineSplitter(w io.Writer, m *logModules) *lineSplitter {
	names := map[jobs.ModuleID]string{}
	for _, module := range m.list {
		names[module.ID] = module.Name
	}
	return &lineSplitter{w: w, modules: m, names: names, width: m.width(), partial: map[lineKey]*lines.Joiner{}}
}

func (l *lineSplitter) add(e broker.LogEntry) error {
	for _, p := range e.Chunk.Parts {
		k := lineKey{e.ID, p.Stream}
		j, known := l.partial[k]
		if !known {
			j = &lines.Joiner{}
			l.partial[k], l.order = j, append(l.order, k)
		}
		if err := j.Add(p.Data, func(line lines.Line) error { return l.line(k, line) }); err != nil {
			return err
		}
	}
	return nil
}

// flush prints the last lines, which have no end of line.
func (l *lineSplitter) flush() error {
	for _, k := range l.order {
		if err := l.partial[k].Flush(func(line lines.Line) error { return l.line(k, line) }); err != nil {
			return err
		}
	}
	return nil
}

func (l *lineSplitter) line(k lineKey, line lines.Line) error {
	text := safetext.Output(line.String())
	if !l.modules.one {
		text = prefix(cmp.Or(l.names[k.id.Module], string(k.id.Module)), l.width) + text
	}
	_, err := io.WriteString(l.w, text+"\n")
	return err
}

// prefix begins each line of a module.
func prefix(name string, width int) string {
	return phrase.Pad(safetext.Line(name), width) + " | "
}
