package flags

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTools(t *testing.T) {
	for _, c := range []struct{ words, added, only []string }{
		{[]string{"a", "b=1"}, []string{"a", "b=1"}, nil},
		{[]string{"only:a", "b"}, nil, []string{"a", "b"}},
		{[]string{"only:"}, nil, []string{}},
	} {
		added, only := splitTools(c.words)
		if diff := cmp.Diff([][]string{c.added, c.only}, [][]string{added, only}); diff != "" {
			t.Errorf("%v: %s", c.words, diff)
		}
	}
}
