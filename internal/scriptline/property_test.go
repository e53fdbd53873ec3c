package scriptline

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// author writes scripts at random.
type author struct {
	t     *rapid.T
	inner bool // it writes the body of f, which does not call f
	tame  bool // it goes without what forbids a trap of ours
}

func (a author) pick(words ...string) string {
	word := rapid.SampledFrom(words).Draw(a.t, "word")
	if word == "f" && a.inner || a.tame && open.MatchString(word) {
		return "true"
	}
	return word
}

// open finds what forbids a trap of ours.
var open = regexp.MustCompile(`^(set|eval|trap)`)

// simple is a command that prints or reads something, or fails.
func (a author) simple() string {
	return a.pick("echo $x", "echo st $?", "true", "false", "x=$((x + 1))", "x=$(echo $x$?)", "y=$?", "(exit 3)", "f", "g", "sh -c 'exit 0'", "[ $x != 2 ]",
		"cat /dev/null", "cd .", "test $x = 0", "read -r z <<E\n$x\nE", "cat <<'E'\nfalse\nE", "echo a | cat", "true | (exit 4)", "set +e", "set -e", "eval 'echo e $?'",
		"exit 5", "exit", "! true", "echo 'a\nb'", "echo \"$(echo c)\n\"", "true &", "wait", ": $x", "trap 'echo bye $?' EXIT", "echo \\\n  d")
}

// statement is one, or a compound of several.
func (a author) statement(depth int) string {
	if depth == 0 {
		return a.simple()
	}
	switch rapid.IntRange(0, 11).Draw(a.t, "kind") {
	case 0:
		return "if " + a.pick("true", "false", "[ $x = 1 ]") + "; then\n" + a.list(depth-1) + "else\n" + a.list(depth-1) + "fi"
	case 1:
		return "for i in 1 2; do\n" + a.list(depth-1) + "done"
	case 2:
		return "case $x in\n0) " + a.list(depth-1) + ";;\n*)\n" + a.list(depth-1) + ";;\nesac"
	case 3:
		return "{\n" + a.list(depth-1) + "}"
	case 4:
		return "(\n" + a.list(depth-1) + ")"
	case 5:
		return a.line() + a.pick(" && ", " || ", " &&\n  ") + a.line()
	case 6:
		return "n=0\nwhile [ $n -lt 2 ]; do\nn=$((n + 1))\n" + a.list(depth-1) + "done"
	}
	return a.simple()
}

// line is a simple command that shares a line with others.
func (a author) line() string {
	return a.pick("true", "false", "echo l $?", "f", "(exit 6)", "[ $x = 0 ]", "x=1")
}

func (a author) list(depth int) string {
	var b strings.Builder
	for range rapid.IntRange(1, 4).Draw(a.t, "statements") {
		s := a.statement(depth)
		if !strings.Contains(s, "<<") && rapid.IntRange(0, 4).Draw(a.t, "joined") == 0 {
			s = strings.TrimSuffix(s, " &") + "; " + a.line()
		}
		b.WriteString(a.pick("", "  ", "# it's\n") + s + "\n")
	}
	return b.String()
}

// A script does the same with marks as without.
func TestMarksChangeNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "line")
	rapid.Check(t, func(rt *rapid.T) {
		a := author{t: rt, tame: rapid.Bool().Draw(rt, "tame")}
		inner := a
		inner.inner = true
		text := fmt.Sprintf("x=0\nf() {\n%s}\ng() { echo g $?; return %s; }\n%s", inner.list(1), a.pick("0", "2"), a.list(2))
		for shell := range shells {
			s, ok := Mark(text, shell, path)
			if !ok {
				continue
			}
			if was, is := play(t, shell, text), play(t, shell, s.Text); was != is {
				rt.Fatalf("%s without marks: %+v\nwith marks: %+v\nof\n%s", shell, was, is, s.Text)
			}
		}
	})
}
