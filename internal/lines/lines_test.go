package lines_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/modpipe/modpipe/internal/lines"
)

// join is the lines of pieces, and the most that was held of any.
func join(pieces ...[]byte) (all []string, most int) {
	var j lines.Joiner
	take := func(l lines.Line) error { all = append(all, l.String()); return nil }
	for _, p := range pieces {
		_ = j.Add(p, take)
		most = max(most, j.Held())
	}
	_ = j.Flush(take)
	return all, most
}

func TestJoinerJoinsPieces(t *testing.T) {
	all, _ := join([]byte("a\nb"), []byte("c\r\n\nd"), nil, []byte("\xff\n"), []byte("end"))
	if got := strings.Join(all, "|"); got != "a|bc||d\uFFFD|end" {
		t.Errorf("got %q", got)
	}
}

// TestLongLineIsBounded: however long a line is and in which pieces it
// comes, at most Most bytes of it are held, and the mark accounts for the rest.
func TestLongLineIsBounded(t *testing.T) {
	const size = 3*lines.Most + 7
	text := bytes.Repeat([]byte("bar\r"), size/4+1)[:size]
	for _, piece := range []int{1 << 10, 64 << 10, size} {
		var pieces [][]byte
		for rest := text; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
			pieces = append(pieces, rest[:min(piece, len(rest))])
		}
		all, most := join(append(pieces, []byte("\nnext\n"))...)
		if most > lines.Most {
			t.Errorf("in pieces of %d: %d bytes were held", piece, most)
		}
		if len(all) != 2 || all[1] != "next" || len(all[0]) > lines.Most+100 ||
			!strings.HasSuffix(all[0], "… [2097159 more bytes of this line are not shown]") {
			t.Errorf("in pieces of %d: %d lines, the first of %d bytes ends with %q", piece, len(all), len(all[0]), all[0][len(all[0])-60:])
		}
	}
}

// TestCutLeavesWholeLetters: a letter of several bytes is shown or it is not.
func TestCutLeavesWholeLetters(t *testing.T) {
	for shift := range 4 {
		text := append(bytes.Repeat([]byte("x"), shift), bytes.Repeat([]byte("🐹"), lines.Most/4+2)...)
		all, _ := join(text)
		if len(all) != 1 || !utf8.ValidString(all[0]) || strings.ContainsRune(all[0], utf8.RuneError) {
			t.Errorf("shifted by %d: %q", shift, all[0][len(all[0])-70:])
		}
	}
}

func TestJoinerStopsAtAnError(t *testing.T) {
	var j lines.Joiner
	want, calls := errors.New("gone"), 0
	err := j.Add([]byte("a\nb\nc"), func(lines.Line) error { calls++; return want })
	if !errors.Is(err, want) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}
