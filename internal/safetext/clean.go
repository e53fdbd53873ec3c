package safetext

import (
	"strings"
	"unicode/utf8"
)

// cleaner takes out what moves a cursor, talks to a terminal, or shows text
// in another order than it is written.
type cleaner struct {
	lines, tabs bool   // stay; else they become blanks
	colours     bool   // SGR sequences stay
	returns     string // what a carriage return becomes; "" = a blank
}

// The control characters that begin a sequence.
const (
	esc = 0x1b
	csi = 0x9b
)

func (c cleaner) clean(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == esc || r >= 0x80 && r < 0xa0 {
			length := sequence(s, r, n)
			if c.colours && isColour(s[:length]) {
				b.WriteString(s[:length])
			}
			s = s[length:]
			continue
		}
		b.WriteString(c.one(r))
		s = s[n:]
	}
	return b.String()
}

// one is what becomes of a character that begins no sequence.
func (c cleaner) one(r rune) string {
	switch {
	case r == '\n' && c.lines, r == '\t' && c.tabs:
		return string(r)
	case r == '\r' && c.returns != "":
		return c.returns
	case r == '\n', r == '\t', r == '\r', r == '\v', r == '\f', r == 0x2028, r == 0x2029:
		return " "
	case r < ' ', r == 0x7f, hides(r):
		return ""
	}
	return string(r)
}

// hides reports whether a character shows nothing itself and changes how the
// text around it is read: marks that reorder it, a byte order mark, tags.
func hides(r rune) bool {
	switch {
	case r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x206f:
		return true
	case r == 0xfeff, r >= 0xfff9 && r <= 0xfffb, r >= 0xe0000 && r <= 0xe007f:
		return true
	}
	return false
}

// sequence is the length of the escape sequence at the start of s, which
// begins with the character r of n bytes. One that does not end is its
// beginning only, so that it hides nothing.
func sequence(s string, r rune, n int) int {
	if r == esc {
		if len(s) == 1 {
			return 1
		}
		return escape(s)
	}
	switch r {
	case csi:
		return parameters(s, n)
	case 0x90, 0x98, 0x9d, 0x9e, 0x9f: // DCS, SOS, OSC, PM, APC
		return untilTerminator(s, n)
	}
	return n
}

// escape is the length of a sequence that begins with ESC.
func escape(s string) int {
	switch s[1] {
	case '[':
		return parameters(s, 2)
	case 'P', 'X', ']', '^', '_':
		return untilTerminator(s, 2)
	}
	i := 1
	for i < len(s) && s[i] >= 0x20 && s[i] <= 0x2f {
		i++
	}
	if i < len(s) && s[i] >= 0x30 && s[i] <= 0x7e {
		return i + 1
	}
	return i
}

// parameters is the length of a control sequence whose parameters begin at i.
func parameters(s string, i int) int {
	for i < len(s) && s[i] >= 0x20 && s[i] <= 0x3f {
		i++
	}
	if i < len(s) && s[i] >= 0x40 && s[i] <= 0x7e {
		return i + 1
	}
	return i
}

// untilTerminator is the length of a string that a terminal takes for itself,
// with its terminator: BEL, ESC \ or ST. Without one it is what introduces it.
func untilTerminator(s string, introducer int) int {
	for i := introducer; i < len(s); i++ {
		switch {
		case s[i] == 0x07:
			return i + 1
		case s[i] == esc && i+1 < len(s) && s[i+1] == '\\', strings.HasPrefix(s[i:], "\u009c"):
			return i + 2
		case s[i] == '\n', s[i] == 0x18, s[i] == 0x1a:
			return introducer
		}
	}
	return introducer
}

// isColour reports whether a sequence only sets colours and weight (SGR).
func isColour(s string) bool {
	body, ok := strings.CutPrefix(s, "\x1b[")
	if !ok || !strings.HasSuffix(body, "m") {
		return false
	}
	return strings.Trim(body[:len(body)-1], "0123456789;:") == ""
}
