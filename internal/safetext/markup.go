package safetext

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Markdown is one line of text that means nothing to GitHub's Markdown, in a
// cell of a table too.
func Markdown(s string) string {
	var b strings.Builder
	for _, r := range Line(s) {
		switch r {
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		case '&':
			b.WriteString("&amp;")
		case '\\', '`', '*', '_', '~', '[', ']', '|', '#', '!', '@', '$', ':', '"', '\'', '{', '}':
			fmt.Fprintf(&b, "&#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
	return strings.ReplaceAll(b.String(), "www.", "www&#46;")
}

// Fenced is text as a block of Markdown, in which nothing has a meaning.
func Fenced(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = Line(strings.TrimRight(lines[i], "\r"))
	}
	text, fence := strings.Join(lines, "\n"), "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + "text\n" + text + "\n" + fence
}

// Markup is a page or a picture in whose text nothing is left that HTML cannot
// hold, or that shows text in another order. It escapes nothing: the text
// has been.
func Markup(page []byte) []byte {
	page = bracketed.ReplaceAll(page, []byte("&#35;&#35;$1"))
	return bytes.Map(func(r rune) rune {
		switch {
		case hides(r):
			return -1
		case r < ' ' && r != '\n' && r != '\t', r >= 0x7f && r < 0xa0:
			return utf8.RuneError
		}
		return r
	}, page)
}

// JSON is JSON with the same data, in which what terminals and CI systems
// could take for theirs is written as escapes.
func JSON(text []byte) []byte { return rewrite(text, `\u%04x\u%04x`) }

// YAML is JSON for YAML whose text that Text would change is in double quotes.
func YAML(text []byte) []byte { return rewrite(text, "") }

// rewrite writes a character that needs two words in the form of pair, "" = as
// one of eight digits.
func rewrite(text []byte, pair string) []byte {
	if !bytes.ContainsFunc(text, func(r rune) bool { return r == '#' || r == '_' || r >= 0x7f }) {
		return text
	}
	text = bracketed.ReplaceAll(text, []byte(`\u0023\u0023$1`))
	text = sectioned.ReplaceAll(text, []byte(`$1\u005f$2:`))
	if !bytes.ContainsFunc(text, escaped) {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case !escaped(r):
			b.WriteRune(r)
		case r > 0xffff && pair != "":
			fmt.Fprintf(&b, pair, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

func escaped(r rune) bool {
	return r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || hides(r)
}

// JSONWriter passes what is written on to w as JSON makes it. Each Write
// takes whole values.
func JSONWriter(w io.Writer) io.Writer { return jsonWriter{w} }

type jsonWriter struct{ w io.Writer }

func (j jsonWriter) Write(text []byte) (int, error) {
	if _, err := j.w.Write(JSON(text)); err != nil {
		return 0, err
	}
	return len(text), nil
}
