package inorder_test

import (
	"fmt"
	"testing"

	"github.com/modpipe/modpipe/internal/inorder"
)

func TestValuesComeOnceAndInOrder(t *testing.T) {
	t.Parallel()
	var got []string
	b := inorder.New[string](func(v string) error {
		got = append(got, v)
		return nil
	})
	for _, n := range []int{2, 3, 1, 3, 5, 4, 7} { // 6 is lost
		if err := b.Add("w", n, fmt.Sprint("w", n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Add("v", 1, "v1"); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != "[w1 w2 w3 w4 w5 v1]" {
		t.Errorf("before the missing value is given up: %v", got)
	}
	for range 10 {
		if err := b.Beat(); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(got[6:]) != "[w7]" {
		t.Errorf("after ten beats without an arrival: %v", got)
	}
}
