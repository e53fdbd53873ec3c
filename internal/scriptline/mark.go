package scriptline

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// variable is what a script keeps its line in. Pipelines cannot set variables
// that begin like it.
const variable = "MODPIPE_LINE"

// maxScript is how long a script may be that is marked. It bounds the depth to
// which the parser recurses.
const maxScript = 16 << 10

// Script is a script with marks.
type Script struct {
	Text string // what the shell runs

	source []string     // the author's lines
	marked map[int]bool // lines that a record may name; false: a statement after it may have failed as well
	last   int          // the line of the last statement, which failed when there is no record; 0: unknown
}

// leftAlone finds what changes how marks would behave or what they would show:
// where no file may be written, writing one ends the shell.
var leftAlone = regexp.MustCompile(variable + `|\b(alias|DEBUG|SHELLOPTS|BASH_XTRACEFD)\b|ulimit\s+-\w*f|\r\n|\x00`)

// Mark marks a script for a shell, sh or bash; the script adds its lines
// to the file at path. It reports false when the script has to run as it is.
func Mark(text, shell, path string) (*Script, bool) {
	if !strings.Contains(strings.TrimSpace(text), "\n") || len(text) > maxScript || leftAlone.MatchString(text) {
		return nil, false
	}
	variant := syntax.LangBash
	if shell != "bash" {
		variant = syntax.LangPOSIX
		if strings.Contains(text, "$'") { // shells differ in where it ends
			return nil, false
		}
	}
	file, err := syntax.NewParser(syntax.Variant(variant)).Parse(strings.NewReader(text), "")
	if err != nil || len(file.Stmts) == 0 {
		return nil, false
	}
	facts, ok := learn(file)
	if !ok {
		return nil, false
	}
	m := marker{facts: facts, text: text, path: quote(path), marked: map[int]bool{}, direct: facts.open}
	if !m.direct {
		action := fmt.Sprintf(`case $? in 0);;*)command echo "$%s">>%s;esac 2>/dev/null||:`, variable, m.path)
		m.out.WriteString("trap " + quote(action) + " EXIT; ")
		m.final = file.Stmts[len(file.Stmts)-1]
	}
	m.list(file.Stmts, true)
	m.out.WriteString(text[m.copied:])
	s := &Script{Text: m.out.String(), source: strings.Split(text, "\n"), marked: m.marked}
	if m.removed && !facts.execs {
		s.last = int(m.final.Pos().Line())
	}
	return s, true
}

// plain is a word that needs no quotes.
var plain = regexp.MustCompile(`^[A-Za-z0-9/._-]+$`)

// quote makes one word of the shell of s.
func quote(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// marker writes the text of a script with marks in it.
type marker struct {
	facts  facts
	text   string
	path   string       // quoted
	direct bool         // marks write the record themselves
	final  *syntax.Stmt // before which the trap is removed; nil with direct marks

	out     strings.Builder
	copied  int // how much of text is in out
	line    int // of the last mark
	marked  map[int]bool
	removed bool // the trap
}

// list marks statements that follow each other. A zero says that $? is 0
// before the first.
func (m *marker) list(stmts []*syntax.Stmt, zero bool) {
	for _, s := range stmts {
		m.stmt(s, zero)
		m.inside(s)
		zero = m.facts.endsAtZero(s)
	}
}

// stmt marks one statement, or notes that it is not marked.
func (m *marker) stmt(s *syntax.Stmt, zero bool) {
	line := int(s.Pos().Line())
	switch {
	case line == m.line && m.line > 0: // the mark of the line is its own
	case m.beginsLine(s) && (zero || !m.facts.readsStatus(s)):
		m.mark(s, line)
	case mayFail(s):
		m.marked[m.line] = false
	}
}

func (m *marker) mark(s *syntax.Stmt, line int) {
	m.copy(int(s.Pos().Offset()))
	switch {
	case m.direct:
		fmt.Fprintf(&m.out, "{ command echo %d >>%s;} 2>/dev/null||:; ", line, m.path)
	case s == m.final && !compound(s):
		m.out.WriteString("trap - EXIT; ")
		m.removed = true
	default:
		fmt.Fprintf(&m.out, "%s=%d; ", variable, line)
	}
	m.line = line
	m.marked[line] = true
}

// beginsLine reports whether only space comes before s on its line.
func (m *marker) beginsLine(s *syntax.Stmt) bool {
	before := m.text[:s.Pos().Offset()]
	before = before[strings.LastIndexByte(before, '\n')+1:]
	return strings.Trim(before, " \t") == ""
}

// inside marks the lists that a statement consists of and that run in this
// shell as if they stood in its place.
func (m *marker) inside(s *syntax.Stmt) {
	for _, list := range listsOf(s) {
		switch s.Cmd.(type) {
		case *syntax.ForClause, *syntax.WhileClause:
			m.loop(list)
		default:
			m.list(list, false)
		}
	}
}

// loop marks the body of a loop in which a mark costs nothing in comparison.
// In another, a command that fails notes its line.
func (m *marker) loop(body []*syntax.Stmt) {
	switch {
	case slices.ContainsFunc(body, m.facts.startsProcess):
		m.list(body, false)
	case !m.direct && !m.facts.goesOn:
		m.ends(body)
	}
}

// ends lets each command of a list end the script by itself when it fails, as
// it would by set -e, and note its line then.
func (m *marker) ends(stmts []*syntax.Stmt) {
	for _, s := range stmts {
		if m.facts.alone(s) {
			line := int(s.Pos().Line())
			m.copy(int(endOf(s).Offset()))
			fmt.Fprintf(&m.out, " || exit $((0*(%s=%d)+$?))", variable, line)
			m.marked[line] = true
		}
		for _, list := range listsOf(s) {
			m.ends(list)
		}
	}
}

// copy copies text up to an offset.
func (m *marker) copy(to int) {
	m.out.WriteString(m.text[m.copied:to])
	m.copied = to
}

// listsOf are the lists in a compound statement that run in this shell.
func listsOf(s *syntax.Stmt) (lists [][]*syntax.Stmt) {
	if s.Negated || s.Background || s.Coprocess {
		return nil
	}
	switch c := s.Cmd.(type) {
	case *syntax.Block:
		lists = append(lists, c.Stmts)
	case *syntax.IfClause:
		for ; c != nil; c = c.Else {
			lists = append(lists, c.Then)
		}
	case *syntax.CaseClause:
		for _, item := range c.Items {
			lists = append(lists, item.Stmts)
		}
	case *syntax.ForClause:
		lists = append(lists, c.Do)
	case *syntax.WhileClause:
		lists = append(lists, c.Do)
	}
	return lists
}

// endOf is where a simple command ends.
func endOf(s *syntax.Stmt) syntax.Pos {
	end := s.Cmd.End()
	for _, r := range s.Redirs {
		if e := r.Word.End(); e.Offset() > end.Offset() {
			end = e
		}
	}
	return end
}

// compound reports whether a statement is a list in another form.
func compound(s *syntax.Stmt) bool {
	switch s.Cmd.(type) {
	case *syntax.Block, *syntax.IfClause, *syntax.CaseClause, *syntax.ForClause, *syntax.WhileClause:
		return true
	}
	return false
}
