package pipeline

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// position is a point in a file, in lines and characters from 1.
type position struct{ line, col int }

// fileText is the text of a pipeline file, kept for excerpts. A text without
// lines (a template that came over the wire) has none to show.
type fileText struct {
	name     string
	lines    [][]rune
	once     sync.Once
	openings []position // of ${{, once they were asked for
}

func newFileText(name string, text []byte) *fileText {
	s := &fileText{name: name}
	for line := range strings.Lines(string(text)) {
		s.lines = append(s.lines, []rune(strings.TrimRight(line, "\r\n")))
	}
	return s
}

// excerptWidth is how much of a line is shown.
const excerptWidth = 120

// excerpt is the line at a position and below it a caret.
func (s *fileText) excerpt(at position) string {
	if at.line < 1 || at.line > len(s.lines) {
		return ""
	}
	line, col := s.lines[at.line-1], at.col-1
	if len(line) == 0 {
		return ""
	}
	col = min(max(col, 0), len(line))
	from := max(0, col-excerptWidth/2)
	to := min(len(line), from+excerptWidth)
	shown := printable(line[from:to])
	caret := make([]rune, 0, col-from+1)
	for _, r := range line[from:col] {
		if r != '\t' {
			r = ' '
		}
		caret = append(caret, r)
	}
	return shown + "\n" + string(append(caret, '^'))
}

// printable is text with a mark for each character that a terminal would obey
// instead of showing it.
func printable(text []rune) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, string(text))
}

// expression finds the position of character offset of the k-th ${{ }} of a
// scalar: exactly, when the file has its text as it is, else its start.
func (s *fileText) expression(n *node, k, offset int, text string) position {
	all := s.opened()
	first, _ := slices.BinarySearchFunc(all, position{n.Line, n.Col}, comparePositions)
	if first+k >= len(all) {
		return position{n.Line, n.Col}
	}
	return s.advance(all[first+k], 3, offset, text)
}

func comparePositions(a, b position) int {
	return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.col, b.col))
}

// opened are the places of all ${{.
func (s *fileText) opened() []position {
	s.once.Do(func() {
		for l, text := range s.lines {
			for i := 0; i+2 < len(text); i++ {
				if text[i] == '$' && text[i+1] == '{' && text[i+2] == '{' {
					s.openings = append(s.openings, position{l + 1, i + 1})
					i += 2
				}
			}
		}
	})
	return s.openings
}

// bare finds the position of character offset of a scalar that is an expression as a whole.
func (s *fileText) bare(n *node, offset int) position {
	at := position{n.Line, n.Col}
	if n.Line < 1 || n.Line > len(s.lines) {
		return at
	}
	line := s.lines[n.Line-1]
	if i := n.Col - 1; i >= 0 && i < len(line) && (line[i] == '>' || line[i] == '|') && !n.Plain {
		return s.block(n, offset)
	}
	if i := n.Col - 1; i >= 0 && i < len(line) && (line[i] == '"' || line[i] == '\'') && !n.Plain {
		return s.advance(at, 1, offset, n.Value)
	}
	return s.advance(at, 0, offset, n.Value)
}

// block is bare for a scalar that begins in the line after its > or |.
func (s *fileText) block(n *node, offset int) position {
	for line := n.Line + 1; line <= len(s.lines); line++ {
		if indent := strings.IndexFunc(string(s.lines[line-1]), func(r rune) bool { return r != ' ' }); indent >= 0 {
			value := strings.TrimLeft(n.Value, "\n")
			return s.advance(position{line, indent + 1}, 0, offset-len(n.Value)+len(value), value)
		}
	}
	return position{n.Line, n.Col}
}

// advance goes skip and then offset characters on from at, if text is there.
func (s *fileText) advance(at position, skip, offset int, text string) position {
	rest := s.lines[at.line-1][min(at.col-1+skip, len(s.lines[at.line-1])):]
	i := 0
	for _, r := range text {
		if i >= offset {
			break
		}
		if i >= len(rest) || rest[i] != r {
			return at
		}
		i++
	}
	if i != offset {
		return at
	}
	return position{at.line, at.col + skip + offset}
}
