package pipeline

import (
	"strings"
	"unicode"
)

// hasExpression says whether a text has ${{ in it.
func hasExpression(s string) bool { return strings.Contains(s, "${{") }

// segment is a piece of a text: literal, or the expression between ${{ and }}.
type segment struct {
	literal string
	expr    string
	isExpr  bool
	index   int // of an expression: how many come before it
}

// segments cuts a text at its expressions. A ${{ without its }} is an error, with its index.
func segments(s string) (parts []segment, unclosed int) {
	for k := 0; ; k++ {
		i := strings.Index(s, "${{")
		if i < 0 {
			break
		}
		if i > 0 {
			parts = append(parts, segment{literal: s[:i]})
		}
		end := endOfExpression(s[i+3:])
		if end < 0 {
			return parts, k
		}
		parts = append(parts, segment{expr: s[i+3 : i+3+end], isExpr: true, index: k})
		s = s[i+3+end+2:]
	}
	if s != "" {
		parts = append(parts, segment{literal: s})
	}
	return parts, -1
}

// endOfExpression finds the }} that closes, outside of strings and of braces opened within.
func endOfExpression(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\'', '"', '`':
			end := endOfString(s[i:])
			if end < 0 {
				return -1
			}
			i += end - 1
		case '{':
			depth++
		case '}':
			if depth == 0 && strings.HasPrefix(s[i:], "}}") {
				return i
			}
			depth--
		}
	}
	return -1
}

// endOfString is the length of the string literal that s begins with; -1 when it does not end.
func endOfString(s string) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && s[0] != '`':
			i++
		case s[i] == s[0]:
			return i + 1
		}
	}
	return -1
}

// hyphen replaces - in names after a dot while expr-lang parses them: a
// letter that pipelines do not contain, so that positions stay the same.
const hyphen = 'ꜗ'

// callable are the operators of expr-lang which GitHub writes as functions.
// The function has a name of the same length, so that positions stay what they are.
var callable = map[string]string{"contains": "Contains", "startsWith": "StartsWith", "endsWith": "EndsWith"}

// normalise rewrites GitHub's words to what expr-lang parses, character by character.
func normalise(src string) string {
	w := rewriter{text: []rune(src)}
	for w.at < len(w.text) {
		w.token()
	}
	return string(w.text)
}

// rewriter goes through an expression once and changes it in place.
type rewriter struct {
	text    []rune
	at      int  // where the next token begins
	operand bool // what was read last can be the left side of an operator
	negated bool // what was read last is a not after an operand: "a not contains b"
}

func (w *rewriter) token() {
	rest := w.text[w.at:]
	switch r := rest[0]; {
	case r == '\'' || r == '"' || r == '`':
		w.value(runeString(rest))
	case isWordStart(r):
		w.word(rest[:wordLength(rest, false)])
	case r >= '0' && r <= '9':
		w.value(wordLength(rest, false))
	case w.atMember():
		w.member(rest[:1+wordLength(rest[1:], true)])
	default:
		w.at++
		if !unicode.IsSpace(r) {
			w.operand, w.negated = r == ')' || r == ']' || r == '}', false
		}
	}
}

// value passes over n characters that are a value.
func (w *rewriter) value(n int) {
	w.at += n
	w.operand, w.negated = true, false
}

func (w *rewriter) word(runes []rune) {
	w.at += len(runes)
	word := string(runes)
	infix := w.operand || w.negated
	if fn := callable[word]; fn != "" && !infix && nextRune(w.text[w.at:]) == '(' {
		copy(runes, []rune(fn))
	}
	w.negated = word == "not" && w.operand
	w.operand = !operators[word] && word != "not"
}

// atMember says whether a dot and a name come next; not so after another dot.
func (w *rewriter) atMember() bool {
	rest := w.text[w.at:]
	return len(rest) > 1 && rest[0] == '.' && isWordStart(rest[1]) && (w.at == 0 || w.text[w.at-1] != '.')
}

func (w *rewriter) member(runes []rune) {
	for i, r := range runes {
		if r == '-' {
			runes[i] = hyphen
		}
	}
	w.value(len(runes))
}

// operators of expr-lang that are words.
var operators = map[string]bool{
	"in": true, "or": true, "and": true, "matches": true, "contains": true, "startsWith": true, "endsWith": true, "let": true, "if": true, "else": true,
}

func isWordStart(r rune) bool { return r == '_' || r == '$' || unicode.IsLetter(r) }
func isWord(r rune) bool      { return isWordStart(r) || unicode.IsDigit(r) }

// wordLength is the length of the name that in begins with; with hyphens in it after a dot.
func wordLength(in []rune, hyphens bool) int {
	n := 0
	for n < len(in) && (isWord(in[n]) || hyphens && in[n] == '-') {
		n++
	}
	return n
}

func nextRune(in []rune) rune {
	for _, r := range in {
		if !unicode.IsSpace(r) {
			return r
		}
	}
	return 0
}

func runeString(in []rune) int {
	for i := 1; i < len(in); i++ {
		switch {
		case in[i] == '\\' && in[0] != '`':
			i++
		case in[i] == in[0]:
			return i + 1
		}
	}
	return len(in)
}

func restoreHyphens(s string) string { return strings.ReplaceAll(s, string(hyphen), "-") }
