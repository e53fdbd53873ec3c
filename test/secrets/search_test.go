package secrets

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// window is how many bytes of a secret in a row count as a leak.
const window = 12

// searcher looks for parts of secrets in data of any kind: it undoes encodings and
// compressions, where the masks make encodings.
type searcher struct {
	parts map[string]string // window → secret
	pairs [1 << 16]bool     // the first two bytes of windows
	seen  map[[32]byte]bool // what was searched: stores have most things twice
	found map[string]bool   // "place: secret, how"
	bytes int64
}

func newSearcher(secrets map[string]string) *searcher {
	s := &searcher{parts: map[string]string{}, found: map[string]bool{}, seen: map[[32]byte]bool{}}
	for name, value := range secrets {
		for i := range len(value) - window + 1 {
			s.parts[value[i:i+window]] = name
			s.pairs[int(value[i])<<8|int(value[i+1])] = true
		}
	}
	return s
}

// most is how many encodings are undone, one in the other. Compressions do not count.
const most = 2

func (s *searcher) search(place string, data []byte) {
	s.bytes += int64(len(data))
	s.layer(place, data, most)
}

func (s *searcher) layer(place string, data []byte, deep int) {
	key := sha256.Sum256(append([]byte{byte(deep)}, data...))
	if s.seen[key] {
		return
	}
	s.seen[key] = true
	for i := range len(data) - window + 1 {
		if !s.pairs[int(data[i])<<8|int(data[i+1])] {
			continue
		}
		if name, ok := s.parts[string(data[i:i+window])]; ok {
			s.found[fmt.Sprintf("%s has %s: %q", place, name, data[max(0, i-40):min(len(data), i+window+20)])] = true
			break
		}
	}
	for how, plain := range unpacked(data) {
		s.layer(place+" ("+how+")", plain, deep)
	}
	if deep == 0 {
		return
	}
	for how, plain := range decoded(data) {
		if len(plain) >= window {
			s.layer(place+" ("+how+")", plain, deep-1)
		}
	}
}

var (
	base64Run  = regexp.MustCompile(`[A-Za-z0-9+/_-]{16,}(\n[A-Za-z0-9+/_-]+)*`)
	hexRun     = regexp.MustCompile(`[0-9a-fA-F]{24,}`)
	percentRun = regexp.MustCompile(`%[0-9a-fA-F]{2}`)
	escape     = regexp.MustCompile(`\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[^ux])`)
	zstdMagic  = []byte{0x28, 0xb5, 0x2f, 0xfd}
	s2Magic    = []byte("\xff\x06\x00\x00S2sTwO")
)

// joined has texts by how they were found, with a zero byte after each.
type joined map[string][]byte

func (j joined) add(how string, data []byte) { j[how] = append(append(j[how], data...), 0) }

// decoded is what data may be an encoding of.
func decoded(data []byte) joined {
	plain := joined{}
	for _, run := range base64Run.FindAll(data, -1) {
		run = []byte(strings.NewReplacer("\n", "", "-", "+", "_", "/").Replace(string(run)))
		for from := range 4 {
			part := run[min(from, len(run)):]
			part = part[:len(part)/4*4]
			if d, err := base64.RawStdEncoding.DecodeString(string(part)); err == nil {
				plain.add(fmt.Sprint("base64 from ", from), d)
			}
		}
	}
	for _, run := range hexRun.FindAll(data, -1) {
		for from := range 2 {
			part := run[from:]
			if d, err := hex.DecodeString(string(part[:len(part)/2*2])); err == nil {
				plain.add(fmt.Sprint("hex from ", from), d)
			}
		}
	}
	if percentRun.Match(data) {
		plain.add("URL", percentRun.ReplaceAllFunc(data, func(b []byte) []byte { d, _ := hex.DecodeString(string(b[1:])); return d }))
	}
	if escape.Match(data) {
		plain.add("quotes", escape.ReplaceAllFunc(data, unescape))
	}
	return plain
}

// unpacked is what is compressed in data.
func unpacked(data []byte) joined {
	plain := joined{}
	for rest := data; ; {
		i := bytes.Index(rest, zstdMagic)
		if i < 0 {
			break
		}
		rest = rest[i:]
		plain.add("zstd", inflated(zstdReader(rest)))
		rest = rest[len(zstdMagic):]
	}
	for rest := data; ; {
		i := bytes.Index(rest, s2Magic)
		if i < 0 {
			break
		}
		rest = rest[i:]
		plain.add("s2", inflated(s2.NewReader(bytes.NewReader(rest))))
		rest = rest[len(s2Magic):]
	}
	for from := range min(16, len(data)) { // a block of S2 has no magic
		if n, err := s2.DecodedLen(data[from:]); err != nil || n < window || n > 1000*len(data) {
			continue
		}
		if d, err := s2.Decode(nil, data[from:]); err == nil {
			plain.add("s2 block", d)
		}
	}
	return plain
}

func unescape(b []byte) []byte {
	switch b[1] {
	case 'u':
		n, _ := strconv.ParseUint(string(b[2:]), 16, 16)
		return []byte(string(rune(n)))
	case 'x':
		d, _ := hex.DecodeString(string(b[2:]))
		return d
	case 'n':
		return []byte("\n")
	}
	return b[1:]
}

func zstdReader(data []byte) io.Reader {
	r, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return bytes.NewReader(nil)
	}
	return r
}

// inflated is what can be read, up to the first error: other data may follow.
func inflated(r io.Reader) []byte {
	data, _ := io.ReadAll(io.LimitReader(r, 64<<20))
	return data
}

// searchDir searches every file below a directory, and the names.
func (s *searcher) searchDir(t *testing.T, place, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		s.search(place+": a name", []byte(rel))
		if !e.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		s.search(place+"/"+rel, data)
		if rest, ok := bytes.CutPrefix(data, []byte("cmp")); ok && len(rest) > 1 { // a block of a stream of NATS
			if _, n := binary.Uvarint(rest[1:]); n > 0 {
				s.layer(place+"/"+rel+" (block)", inflated(s2.NewReader(bytes.NewReader(rest[1+n:]))), most)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSearchFindsEncodings: the search undoes what programs and NATS make of a text.
func TestSearchFindsEncodings(t *testing.T) {
	const secret = "gh/tok+en \"0123456789\" \u00e9\u00e8 ABCDEFGHIJ"
	quoted, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	w := s2.NewWriter(&stream)
	if _, err := w.Write([]byte(strings.Repeat("x", 100) + secret)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{
		"itself": secret, "a part": secret[5:20], "JSON": string(quoted), "Go": fmt.Sprintf("%+q", secret), "hex": hex.EncodeToString([]byte(secret)),
		"HEX after a digit": "a" + strings.ToUpper(hex.EncodeToString([]byte(secret))), "URL": url.QueryEscape(secret),
		"zstd": "header" + string(enc.EncodeAll([]byte(secret), nil)), "s2": "header" + stream.String(), "s2 block": "h" + string(s2.Encode(nil, []byte(secret))),
		"hex in zstd": string(enc.EncodeAll([]byte(hex.EncodeToString([]byte(secret))), nil)),
	}
	for before := range 3 {
		text := strings.Repeat("x", before) + secret
		texts[fmt.Sprint("base64 after ", before)] = base64.StdEncoding.EncodeToString([]byte(text))
		texts[fmt.Sprint("base64url after ", before)] = base64.RawURLEncoding.EncodeToString([]byte(text))
	}
	for name, text := range texts {
		s := newSearcher(map[string]string{"S": secret})
		s.search("text", []byte("before "+text+" after"))
		if name == "s2 block" || strings.Contains(name, "zstd") {
			s.search("text", []byte(text))
		}
		if len(s.found) == 0 {
			t.Errorf("%s is not found", name)
		}
	}
	s := newSearcher(map[string]string{"S": secret})
	s.search("text", []byte("before "+secret[:window-1]+" after"))
	if len(s.found) > 0 {
		t.Errorf("found %v in a text without it", s.found)
	}
}
