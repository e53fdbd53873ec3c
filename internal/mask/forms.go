package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// fewestOfLine is how many characters a line of a value has at least that is masked by
// itself.
const fewestOfLine = 6

// formsOf lists every text that is masked for a value: the value without the white
// space around it, each of its lines that is long enough, and their encodings.
func formsOf(value string) []string {
	texts := map[string]bool{strings.TrimSpace(value): true}
	for line := range strings.Lines(value) {
		if line = strings.TrimRight(line, "\r\n"); utf8.RuneCountInString(line) >= fewestOfLine {
			texts[line] = true
		}
	}
	var forms []string
	for text := range texts {
		forms = append(forms, text, hex.EncodeToString([]byte(text)), strings.ToUpper(hex.EncodeToString([]byte(text))))
		forms = append(forms, base64Forms(text)...)
		forms = append(forms, urlForms(text)...)
		forms = append(forms, quotedForms(text)...)
	}
	return forms
}

// base64Forms encodes a text at each of the three places in a group where it can
// begin, without the characters that also depend on what is before it; and without
// those that depend on what is after it, or, at the end of the encoded text, with them.
func base64Forms(text string) (forms []string) {
	for before := range 3 {
		data := append(make([]byte, before), text...)
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			whole := e.EncodeToString(data)[(8*before+5)/6:]
			inner := whole[:8*len(data)/6-(8*before+5)/6]
			forms = append(forms, inner, strings.TrimRight(whole, "="), whole)
			if before == 0 {
				forms = append(forms, wrapped(inner, 64), wrapped(inner, 76)) // as openssl and base64 print it
			}
		}
	}
	return forms
}

func wrapped(text string, width int) string {
	var b strings.Builder
	for len(text) > width {
		b.WriteString(text[:width] + "\n")
		text = text[width:]
	}
	return b.String() + text
}

var percentEscape = regexp.MustCompile(`%[0-9A-F]{2}`)

// urlForms are what the languages of the field make of a text in a URL: they differ in
// the characters that they leave as they are.
func urlForms(text string) (forms []string) {
	query := url.QueryEscape(text)
	strict := strings.ReplaceAll(query, "+", "%20")
	component := strings.NewReplacer("%21", "!", "%27", "'", "%28", "(", "%29", ")", "%2A", "*").Replace(strict) // of JavaScript
	for _, form := range []string{query, strict, component, url.PathEscape(text), strings.ReplaceAll(strict, "%2F", "/")} {
		forms = append(forms, form, percentEscape.ReplaceAllStringFunc(form, strings.ToLower))
	}
	return forms
}

// quotedForms are a text inside the quotes of JSON, Go and the shell.
func quotedForms(text string) []string {
	plain := unquoted(plainJSON(text))
	forms := []string{
		plain, strings.ReplaceAll(plain, "/", `\/`), asciiJSON(plain, "%04x"), asciiJSON(plain, "%04X"),
		strings.ReplaceAll(text, "'", `'\''`), strings.ReplaceAll(text, "'", `'"'"'`),
		unquoted(strconv.Quote(text)), unquoted(strconv.QuoteToASCII(text)),
	}
	if escaped, err := json.Marshal(text); err == nil { // a text can always be encoded
		forms = append(forms, unquoted(string(escaped)))
	}
	return forms
}

func unquoted(text string) string { return text[1 : len(text)-1] }

// plainJSON is JSON without the escapes that protect HTML.
func plainJSON(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a text can always be encoded, and written to memory
	return strings.TrimSuffix(b.String(), "\n")
}

// asciiJSON escapes the characters beyond ASCII in JSON, as Python does.
func asciiJSON(text, format string) string {
	var b strings.Builder
	for _, r := range text {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			b.WriteString(`\u` + fmt.Sprintf(format, unit))
		}
	}
	return b.String()
}
