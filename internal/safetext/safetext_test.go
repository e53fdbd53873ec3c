package safetext_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/modpipe/modpipe/internal/safetext"
)

// hostile are texts that command terminals and CI systems.
func hostile() []string {
	return []string{
		"\x1b]0;title\x07x", "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "\x1b[2J\x1b[1;1H", "\x1b[?1049h", "\x1bP+q544e\x1b\\", "\x1b_G\x1b\\",
		"\u009b2J", "\u009d0;t\u009c", "\x9b2J", "\u0090x\u009c", "\x1bc", "\x1b(0", "\x1b", "\x1b[", "\x1b]never ends", "\x1b[31", "a\x1b[\x1b[2J",
		"\u202ertl\u202c", "\u2066x\u2069", "\ufeff::error::x", "#\u202e#vso[x]", "\U000e0041tag", "a\u2028b\u0085c\vd\fe",
		"::error::x", "  ::set-output name=a::b", "\x1b[31m::error::x", "a\r::error::b\r\n", "x\n::error::y", "x\r\n\t::error::y",
		"##vso[task.complete]", "##VSO[x]", "x ##[error]y", "####[x]", "##teamcity[x]", "#\x00#[x]", "#\x1b[2J#[x]",
		"section_start:1:x\r\x1b[0K", "section_end:1:x", "--- group", "+++ group", "~~~ x", "^^^ +++", "\x00--- group", "x\n--- group",
		"</script><b>", "| a | b |", "```\nx", "\x00nul\b\b\x7f", "\xff\xfe",
	}
}

// commands finds what must be left nowhere. The beginning of a line may be
// behind blanks and colours.
var commands = regexp.MustCompile(`(?i)##[a-z]*\[|section_(start|end):|(?m:^(\s|\x1b\[[0-9;:]*m)*::)`)

var headings = regexp.MustCompile(`(?m)^(---|\+\+\+|~~~|\^\^\^)`)

var colours = regexp.MustCompile(`\x1b\[[0-9;:]*m`)

// check reports what is wrong with a text that was made harmless.
func check(s, allowed string) string {
	switch {
	case !utf8.ValidString(s):
		return "it is not UTF-8"
	case commands.MatchString(s):
		return "a command is left"
	}
	for _, r := range s {
		control := r < ' ' || r >= 0x7f && r < 0xa0
		bidi := r == 0x61c || r == 0x200e || r == 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
		if (control || bidi || r == 0xfeff || r == 0x2028 || r == 0x2029) && !strings.ContainsRune(allowed, r) {
			return "it holds " + string(r)
		}
	}
	return ""
}

// checkAll puts a text through every function, and checks what they promise.
func checkAll(t *testing.T, s string) {
	t.Helper()
	for name, c := range map[string]struct {
		f       func(string) string
		allowed string
		keeps   bool // colours
		heading bool
	}{
		"Line":   {safetext.Line, "", false, false},
		"Text":   {safetext.Text, "\n\t", false, false},
		"Output": {safetext.Output, "\t", true, true},
		"Screen": {safetext.Screen, "\n\t", true, true},
	} {
		got := c.f(s)
		seen := got
		if c.keeps {
			seen = colours.ReplaceAllString(got, "")
		}
		if why := check(seen, c.allowed); why != "" && !strings.Contains(why, "command") || commands.MatchString(got) {
			t.Errorf("%s(%q) = %q: %s", name, s, got, why)
		}
		if !c.heading && headings.MatchString(got) {
			t.Errorf("%s(%q) = %q is a heading", name, s, got)
		}
		if again := c.f(got); again != got {
			t.Errorf("%s(%q) = %q, and again %q", name, s, got, again)
		}
	}
	checkJSON(t, s)
}

func checkJSON(t *testing.T, s string) {
	t.Helper()
	text, err := json.Marshal(map[string]string{"text": s})
	if err != nil {
		t.Fatal(err)
	}
	safe := safetext.JSON(text)
	if why := check(string(safe), ""); why != "" {
		t.Errorf("JSON(%q) = %q: %s", text, safe, why)
	}
	var want, got map[string]string
	if json.Unmarshal(text, &want) != nil || json.Unmarshal(safe, &got) != nil || want["text"] != got["text"] {
		t.Errorf("JSON(%q) = %q holds %q, want %q", text, safe, got["text"], want["text"])
	}
}

func TestHostileTextIsHarmless(t *testing.T) {
	for _, a := range hostile() {
		checkAll(t, a)
		for _, b := range hostile() { // two halves may make one command
			checkAll(t, a+b)
		}
	}
}

func FuzzHarmless(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s)
	}
	f.Fuzz(checkAll)
}

func TestTextStaysReadable(t *testing.T) {
	for _, c := range []struct {
		f        func(string) string
		in, want string
	}{
		{safetext.Line, "build (os=linux, c++=a::b)", "build (os=linux, c++=a::b)"},
		{safetext.Line, "a\tb\nc", "a b c"},
		{safetext.Line, "\x1b[31mred\x1b[0m ##[x]", "red ## [x]"},
		{safetext.Line, "größer 🐹 日本", "größer 🐹 日本"},
		{safetext.Text, "a\r\n\tb\n::error::c", "a\n\tb\n: :error::c"},
		{safetext.Output, "\x1b[1;31mred\x1b[0m plain", "\x1b[1;31mred\x1b[0m plain"},
		{safetext.Output, "\x1b[31mred", "\x1b[31mred\x1b[0m"},
		{safetext.Output, "10%\r20%\r", "10%␍20%"},
		{safetext.Output, "\x1b]0;t\x07\x1b[2Kok ##vso[x]", "ok ## vso[x]"},
		{safetext.Output, "--- a/file", "--- a/file"},
		{safetext.Output, "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"},
		{safetext.Output, "\x1b]unfinished text", "unfinished text"},
		{safetext.Markdown, "<b>|`x`*_[a](http://b)", "&lt;b&gt;&#124;&#96;x&#96;&#42;&#95;&#91;a&#93;(http&#58;//b)"},
		{safetext.Fenced, "a\n```\n<b>", "````text\na\n```\n<b>\n````"},
		{func(s string) string { return string(safetext.JSON([]byte(s))) }, `{"a":"##vso[x] ß 🐹"}`, `{"a":"\u0023\u0023vso[x] ß 🐹"}`},
		{func(s string) string { return string(safetext.Markup([]byte(s))) }, "<b>\u202ex\x1b\ufeff</b>\n", "<b>x\uFFFD</b>\n"},
	} {
		if got := c.f(c.in); got != c.want {
			t.Errorf("%q became %q, want %q", c.in, got, c.want)
		}
	}
}
