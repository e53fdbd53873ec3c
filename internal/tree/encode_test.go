package tree

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestDecodeReturnsWhatWasEncoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		files := anyTree().Draw(t, "tree").Files
		from := rapid.IntRange(0, len(files)).Draw(t, "from")
		run := files[from:rapid.IntRange(from, len(files)).Draw(t, "to")]
		got, err := DecodeFiles(AppendFiles(nil, run))
		if err != nil || !slices.Equal(got, run) {
			t.Fatalf("got %v, %v", got, err)
		}
	})
}

func TestAppendFilesKeepsWhatIsThere(t *testing.T) {
	b := AppendFiles([]byte("before"), []File{regular("a", "x")})
	if rest, ok := bytes.CutPrefix(b, []byte("before")); !ok {
		t.Errorf("%q", b)
	} else if _, err := DecodeFiles(rest); err != nil {
		t.Error(err)
	}
}

// entries encodes a run by hand: its number and the bytes after it.
func entries(n uint64, b ...[]byte) []byte {
	return append(binary.AppendUvarint([]byte{runVersion}, n), bytes.Join(b, nil)...)
}

func TestDecodeRefusesWhatAppendDoesNotWrite(t *testing.T) {
	dir := func(same byte, rest string) []byte {
		return append([]byte{byte(Directory), same, byte(len(rest))}, rest...)
	}
	for name, test := range map[string]struct {
		b    []byte
		want string
	}{
		"nothing":            {nil, "ends too early"},
		"a version":          {[]byte{2, 0}, "version 2 is unknown"},
		"no count":           {[]byte{1}, "ends too early"},
		"count":              {entries(1 << 60), "1152921504606846976 entries do not fit into 0 bytes"},
		"a long number":      {[]byte{1, 0x80, 0}, "shortest form"},
		"an endless number":  {append([]byte{1}, bytes.Repeat([]byte{0xff}, 11)...), "shortest form"},
		"trailing bytes":     {entries(1, dir(0, "a"), []byte{0}), "1 bytes follow"},
		"order":              {entries(2, dir(0, "b"), dir(0, "a")), `"a" does not come after "b"`},
		"twice":              {entries(2, dir(0, "ab"), dir(2, "")), "not come after"},
		"shares too much":    {entries(1, dir(3, "a")), "shares more than the one before has"},
		"shares too little":  {entries(2, dir(0, "ab"), dir(0, "ac")), "shares more with the one before than it says"},
		"upwards":            {entries(1, dir(0, "../a")), "leads upwards"},
		"kind":               {entries(1, []byte{9, 0, 1, 'a'}), "unknown kind"},
		"a long name":        {entries(1, []byte{2, 0, 0xff, 0xff, 0x7f}), "too long"},
		"a cut name":         {entries(1, []byte{2, 0, 9, 'a'}), "ends too early"},
		"a cut digest":       {entries(1, []byte{0, 0, 1, 'a', 1, 2, 3}), "ends too early"},
		"a link outside":     {entries(1, []byte{byte(Link), 0, 1, 'a', 2, '.', '.'}), "leads outside"},
		"a size":             {entries(1, append([]byte{0, 0, 1, 'a'}, binary.AppendUvarint(nil, 1<<63)...), make([]byte, 32)), "a size of 9223372036854775808"},
		"a directory's data": {entries(1, []byte{2, 0, 1, 'a', 0}), "follow the last entry"},
	} {
		files, err := DecodeFiles(test.b)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %d files, the error is %v; it should say %q", name, len(files), err, test.want)
		}
	}
}

// Directories that share 4,000 bytes with the one before take 6 bytes each, and
// 4,000 bytes of memory.
func TestDecodeBoundsWhatSharedPathsClaim(t *testing.T) {
	head := strings.Repeat(strings.Repeat("d", 15)+"/", 250)
	var b [][]byte
	last := ""
	for i := range uint64(20_000) {
		path := string([]byte{byte('0' + i/75/75), byte('0' + i/75%75), byte('0' + i%75)})
		same := shared(last, path)
		if i == 0 {
			b = append(b, []byte{byte(Directory), 0}, appendString(nil, head+path))
		} else {
			b = append(b, binary.AppendUvarint([]byte{byte(Directory)}, uint64(len(head)+same)), appendString(nil, path[same:]))
		}
		last = path
	}
	_, err := DecodeFiles(entries(20_000, b...))
	if err == nil || !strings.Contains(err.Error(), "its names take more than 67108864 bytes") {
		t.Errorf("the error is %v", err)
	}
}

func FuzzDecodeFiles(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(AppendFiles(nil, nil))
	f.Add(AppendFiles(nil, []File{
		regular("a/b", "x"), regular("a/c.txt", ""), {Path: "a/l", Kind: Link, Target: "../a/b"}, {Path: "e", Kind: Directory},
	}))
	f.Fuzz(func(t *testing.T, b []byte) {
		files, err := DecodeFiles(b)
		if err != nil {
			return
		}
		if again := AppendFiles(nil, files); !bytes.Equal(again, b) {
			t.Errorf("%d files have another encoding: %x", len(files), again)
		}
		tree, err := New(slices.Clone(files))
		if err == nil && tree.Len() < len(files) {
			for _, f := range files {
				if _, ok := tree.Find(f.Path); !ok && f.Kind != Directory {
					t.Errorf("New lost %q", f.Path)
				}
			}
		}
		if err == nil && tree.Len() == len(files) {
			if diff := cmp.Diff(files, tree.Files); diff != "" {
				t.Error(diff)
			}
		}
	})
}
