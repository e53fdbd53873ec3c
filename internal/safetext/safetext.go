// Package safetext makes text that others wrote harmless for the place in
// which it is shown. Names, outputs, reasons and errors come from modules,
// workers and messages, and none of them may command a terminal or the CI
// system that reads a log. One function belongs to each kind of place:
//
//   - Line for a name or a cell, which is one line.
//   - Text for errors and notes, which may have several.
//   - Output for a line that a module wrote; it keeps colours.
//   - Screen for all that a program is about to write, as a last net. It
//     keeps the program's own lines and colours.
//   - Markdown and Fenced for a step's summary, Markup for HTML and SVG, JSON
//     for JSON, whose data stays what it is.
//
// Each result, put through its function again, stays the same.
package safetext

import "strings"

// reset ends colours.
const reset = "\x1b[0m"

// Line is one line without escape sequences, control characters and characters
// that reorder or hide text. Line ends become blanks.
func Line(s string) string {
	if plain(s) {
		return s
	}
	return inert(cleaner{}.clean(s), true)
}

// Text is Line for text of several lines: it keeps line ends and tabs.
func Text(s string) string {
	if plain(s) {
		return s
	}
	return inert(cleaner{lines: true, tabs: true}.clean(strings.ReplaceAll(s, "\r\n", "\n")), true)
}

// Output is a line that a module wrote, for plain progress and logs: colours
// stay, and end with the line. A carriage return inside the line becomes ␍.
func Output(s string) string {
	if plain(s) {
		return s
	}
	s = inert(cleaner{tabs: true, colours: true, returns: "␍"}.clean(strings.TrimRight(s, "\r")), false)
	if i := strings.LastIndex(s, "\x1b["); i >= 0 && !strings.HasPrefix(s[i:], reset) && !strings.HasPrefix(s[i:], "\x1b[m") {
		s += reset
	}
	return s
}

// Screen is text in which lines, tabs and colours stay.
func Screen(s string) string {
	if plain(s) {
		return s
	}
	return inert(cleaner{lines: true, tabs: true, colours: true}.clean(s), false)
}

// plain reports whether s is the commonest text, of which everything stays.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '#' || c == ':' || c == '-' || c == '+' || c == '^' || c == '~' {
			return false
		}
	}
	return true
}
