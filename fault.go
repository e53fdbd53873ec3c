package modpipe

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/modpipe/modpipe/pipeline"
)

// callSite is a position in the user's code.
type callSite struct {
	file string
	line int
}

// caller is the call site that called the function which calls caller; nowhere
// when no message will name it.
func caller() callSite {
	if b := defining(); b != nil && b.checked {
		return callSite{}
	}
	_, file, line, ok := runtime.Caller(2)
	if !ok {
		return callSite{}
	}
	return callSite{file, line}
}

// String is FILE:LINE, the file as it is named from here.
func (p callSite) String() string {
	if p.file == "" {
		return "somewhere"
	}
	return fmt.Sprintf("%s:%d", shown(p.file), p.line)
}

// shown is a file's name from the working directory, where that is shorter.
func shown(file string) string {
	dir, err := os.Getwd()
	if err != nil {
		return file
	}
	rel, err := filepath.Rel(dir, file)
	if err != nil || len(rel) > len(file) {
		return file
	}
	return rel
}

func (p callSite) position() pipeline.Place { return pipeline.Place{File: shown(p.file), Line: p.line} }

// fault notes a mistake in the definition.
func (b *Builder) fault(at callSite, suggestion, format string, args ...any) {
	if len(b.faults) >= pipeline.MaxFaults {
		return
	}
	b.faults = append(b.faults, pipeline.Fault{File: at.file, Line: at.line, Text: fmt.Sprintf(format, args...), Suggestion: suggestion})
}

// suggest says which of the known words may have been meant, for the first faults.
func (b *Builder) suggest(word string, known []string) string {
	if b.suggested++; b.suggested > pipeline.MaxSuggestions {
		return ""
	}
	return pipeline.Suggest(word, known)
}

func (b *Builder) foreign(at callSite) {
	b.fault(at, "hand over what this definition has made, not what was kept in a variable outside it", "a value of another pipeline")
}

// dress makes faults readable: files as they are named from here, and the
// line where the source is at hand.
func dress(faults pipeline.Faults) pipeline.Faults {
	files := map[string][]string{}
	for i := range faults {
		f := &faults[i]
		if f.Excerpt == "" && f.Line > 0 && f.Column == 0 {
			f.Excerpt = lineOf(files, f.File, f.Line)
		}
		if f.File != "" {
			f.File = shown(f.File)
		}
	}
	return faults
}

// lineOf is a line of a file; empty when it is not at hand. files keeps what was read.
func lineOf(files map[string][]string, file string, line int) string {
	lines, ok := files[file]
	if !ok {
		text, err := os.ReadFile(file)
		if err == nil {
			lines = strings.Split(string(text), "\n")
		}
		files[file] = lines
	}
	if line > len(lines) {
		return ""
	}
	return strings.TrimSpace(lines[line-1])
}
