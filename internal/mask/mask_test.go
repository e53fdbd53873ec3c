package mask_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/modpipe/modpipe/internal/mask"
)

func masker(values ...string) *mask.Masker {
	var secrets []mask.Secret
	for i, v := range values {
		secrets = append(secrets, mask.Secret{Name: fmt.Sprint("S", i), Value: v})
	}
	return mask.New(secrets)
}

// through passes pieces through a stream.
func through(m *mask.Masker, pieces ...string) string {
	s := m.Stream()
	var b strings.Builder
	for _, p := range pieces {
		piece := []byte(p)
		b.Write(s.Next(piece))
		clear(piece) // a stream keeps no piece
	}
	b.Write(s.Close())
	return b.String()
}

const token = `p/ss"w+rd'&<é~9?`

// TestEveryFormIsMasked: what other programs make of a value is masked, and what is
// around it stays.
func TestEveryFormIsMasked(t *testing.T) {
	m := masker(token)
	html, _ := json.Marshal(token)
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false)
	_ = e.Encode(token)
	for name, text := range map[string]string{
		"itself": token, "JSON": string(html), "JSON without HTML": strings.TrimSpace(plain.String()),
		"JSON of Python": `p/ss\"w+rd'&<\u00e9~9?`, "JSON of PHP": `p\/ss\"w+rd'&<é~9?`,
		"Go": fmt.Sprintf("%q", token), "Go in ASCII": fmt.Sprintf("%+q", token),
		"query": url.QueryEscape(token), "path": url.PathEscape(token), "lower case": `p%2fss%22w%2brd%27%26%3c%c3%a9~9%3f`,
		"JavaScript": `p%2Fss%22w%2Brd'%26%3C%C3%A9~9%3F`,
		"hex":        hex.EncodeToString([]byte(token)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(token))),
		"bash -x": `p/ss"w+rd'\''&<é~9?`, "dash -x": `p/ss"w+rd'"'"'&<é~9?`,
	} {
		got := m.Text("a " + text + " b")
		if strings.Contains(got, "ss") || strings.Contains(got, "7373") || !strings.HasPrefix(got, "a ") || !strings.HasSuffix(got, " b") || !strings.Contains(got, mask.Mask) {
			t.Errorf("%s: %q became %q", name, text, got)
		}
		if name, found := m.Find([]byte("a " + text + " b")); !found || name != "S0" {
			t.Errorf("%s: %q is not found", name, text)
		}
	}
}

// TestBase64IsMaskedWhereverItBegins: at most one character on each side is left, which
// also depends on what is beside the value; and at the end of the encoded text none is.
func TestBase64IsMaskedWhereverItBegins(t *testing.T) {
	m := masker(token)
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 7 {
			for after := range 5 {
				text := strings.Repeat("b", before) + token + strings.Repeat("a", after)
				whole := e.EncodeToString([]byte(text))
				got := m.Text(whole)
				rest := len(whole) - (len(token)*8/6 - 1) + len(mask.Mask)
				if !strings.Contains(got, mask.Mask) || len(got) > rest {
					t.Errorf("%d before and %d after: %s became %s", before, after, whole, got)
				}
				if after == 0 && !strings.HasSuffix(got, mask.Mask) {
					t.Errorf("%d before: the end of %s became %s", before, whole, got)
				}
			}
		}
	}
}

func TestLinesOfAValueAreMasked(t *testing.T) {
	m := masker("-----BEGIN-----\r\nabcdefg\nshort\n  123456\n")
	for text, want := range map[string]string{
		"x -----BEGIN----- y": "x *** y", "abcdefg": "***", "short": "short", "  123456!": "***!", "123456": "123456",
		"-----BEGIN-----\r\nabcdefg\nshort\n  123456\n":            "***\n",
		base64.StdEncoding.EncodeToString([]byte("x\nabcdefg\ny")): "eAp***Cnk=",
	} {
		if got := m.Text(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

// TestWrappedBase64IsMasked as base64 and openssl print it.
func TestWrappedBase64IsMasked(t *testing.T) {
	value := strings.Repeat("0123456789abcdef", 20)
	whole := base64.StdEncoding.EncodeToString([]byte(value + "\n"))
	for _, width := range []int{64, 76} {
		var lines []string
		for line := range slices.Chunk([]byte(whole), width) {
			lines = append(lines, string(line))
		}
		if got := masker(value).Text(strings.Join(lines, "\n")); len(got) > 10 {
			t.Errorf("at %d: %q is left", width, got)
		}
	}
}

func TestShortValuesAreNotMasked(t *testing.T) {
	if m := mask.New([]mask.Secret{{Name: "PIN", Value: "4711", AllowShort: true}}); m != nil {
		t.Error("a short value is masked")
	}
	var m *mask.Masker
	if got := m.Text("x") + through(m, "a", "b"); got != "xab" {
		t.Errorf("without secrets: %q", got)
	}
	if _, found := m.Find([]byte("x")); found {
		t.Error("without secrets one is found")
	}
}

func TestOverlapsAreMaskedTogether(t *testing.T) {
	for _, row := range []struct {
		values     []string
		text, want string
	}{
		{[]string{"abcdefgh", "efghijkl"}, "-abcdefghijkl-", "-***-"},
		{[]string{"abcdefgh", "abcdefghijkl"}, "-abcdefghijkl-abcdefgh-abcdefghijk-", "-***-***-***ijk-"},
		{[]string{"cdefghij", "abcdefghijkl"}, "abcdefghijkx cdefghij abcdefghijkl", "ab***kx *** ***"},
		{[]string{"abcdefgh", "ijklmnop"}, "abcdefghijklmnop", "***"},
		{[]string{"aaaaaaaa"}, "aaaaaaaaaaab aaaaaaa", "***b aaaaaaa"},
		{[]string{"abcdefghij"}, "abcdefghi", "***"},
		{[]string{"abcdefghij"}, "abcdefg", "abcdefg"},
	} {
		m := masker(row.values...)
		if got := m.Text(row.text); got != row.want {
			t.Errorf("%v: %q became %q, want %q", row.values, row.text, got, row.want)
		}
		for cut := range len(row.text) {
			if got := through(m, row.text[:cut], row.text[cut:]); got != row.want {
				t.Errorf("%v: %q cut at %d became %q, want %q", row.values, row.text, cut, got, row.want)
			}
		}
	}
}

// secretsAndText draws secrets that overlap and contain each other, and a text full of
// them and of their parts.
func secretsAndText(t *rapid.T) (values []string, text string) {
	value := rapid.StringOfN(rapid.RuneFrom([]rune("ab\n")), 8, 14, -1).Filter(func(s string) bool { return len(strings.TrimSpace(s)) >= mask.Fewest })
	values = rapid.SliceOfN(value, 1, 4).Draw(t, "values")
	values = append(values, values[0]+rapid.SampledFrom([]string{"a", "bb", "c"}).Draw(t, "suffix"))
	var b strings.Builder
	for range rapid.IntRange(0, 12).Draw(t, "parts") {
		v := rapid.SampledFrom(values).Draw(t, "value")
		from := rapid.IntRange(0, 3).Draw(t, "from")
		to := rapid.IntRange(from, len(v)).Draw(t, "to")
		b.WriteString(rapid.SampledFrom([]string{v, v[from:to], "x", "a", hex.EncodeToString([]byte(v)), base64.StdEncoding.EncodeToString([]byte("z" + v))}).Draw(t, "part"))
	}
	return values, b.String()
}

// TestCutsChangeNothing: however a text arrives, the result is that of the text in one
// piece; and that is what a search for each form by itself would mask.
func TestCutsChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values, text := secretsAndText(t)
		m := masker(values...)
		whole := m.Text(text)
		if want := naive(values, text); whole != want {
			t.Fatalf("%q: %q became %q, want %q", values, text, whole, want)
		}
		var pieces []string
		for rest := text; rest != ""; {
			n := rapid.IntRange(0, min(len(rest), 7)).Draw(t, "piece")
			pieces, rest = append(pieces, rest[:n]), rest[n:]
			if n == 0 && len(pieces) > 3*len(text) {
				pieces, rest = append(pieces, rest), ""
			}
		}
		if got := through(m, pieces...); got != whole {
			t.Fatalf("%q in pieces %q became %q, and in one piece %q", values, pieces, got, whole)
		}
		for cut := range len(text) {
			if got := through(m, text[:cut], text[cut:]); got != whole {
				t.Fatalf("%q: %q cut at %d became %q, and in one piece %q", values, text, cut, got, whole)
			}
		}
		_, found := m.Find([]byte(text))
		_, err := io.ReadAll(m.Reader(iotestReader{strings.NewReader(text)}))
		if found != (err != nil) {
			t.Fatalf("%q: found %v, and reading gives %v", text, found, err)
		}
	})
}

// iotestReader reads a few bytes at a time.
type iotestReader struct{ r io.Reader }

func (r iotestReader) Read(p []byte) (int, error) { return r.r.Read(p[:min(len(p), 3)]) }

// naive masks by comparing every form at every place.
func naive(values []string, text string) string {
	hidden := make([]bool, len(text))
	hide := func(from, to int) {
		for i := from; i < to; i++ {
			hidden[i] = true
		}
	}
	forms := mask.Forms(values...)
	longest := 0 // part of a form at the end
	for _, f := range forms {
		for i := range text {
			if strings.HasPrefix(text[i:], f) {
				hide(i, i+len(f))
			}
		}
		for n := min(len(f)-1, len(text)); n >= 8; n-- {
			if strings.HasSuffix(text, f[:n]) {
				longest = max(longest, n)
				break
			}
		}
	}
	hide(len(text)-longest, len(text))
	var b strings.Builder
	for i := range len(text) {
		switch {
		case !hidden[i]:
			b.WriteByte(text[i])
		case i == 0 || !hidden[i-1]:
			b.WriteString("***")
		}
	}
	return b.String()
}

// TestHeldBackIsBounded: a stream returns everything that cannot belong to a secret.
func TestHeldBackIsBounded(t *testing.T) {
	s := masker("abcdefgh").Stream()
	for _, row := range []struct{ piece, want string }{
		{"hello\n", "hello\n"}, {"xab", "x"}, {"cx", "abcx"}, {"abcdefg", ""}, {"", ""}, {"h", "***"}, {"i", "i"},
	} {
		if got := string(s.Next([]byte(row.piece))); got != row.want {
			t.Errorf("after %q: %q, want %q", row.piece, got, row.want)
		}
	}
}

func TestReaderNamesTheSecret(t *testing.T) {
	m := mask.New([]mask.Secret{{Name: "A", Value: "first-secret"}, {Name: "B", Value: "second-secret"}})
	data, err := io.ReadAll(m.Reader(strings.NewReader("text second-secret text")))
	if err == nil || err.Error() != "it contains the secret B" {
		t.Errorf("%v", err)
	}
	if bytes.Contains(data, []byte("second-secret")) {
		t.Errorf("the secret was read: %q", data)
	}
	if data, err := io.ReadAll(m.Reader(strings.NewReader("text"))); err != nil || string(data) != "text" {
		t.Errorf("%q, %v", data, err)
	}
}
