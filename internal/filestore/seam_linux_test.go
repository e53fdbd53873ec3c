package filestore

import (
	"os"
	"testing"
)

func deviceOf(t *testing.T, root *os.Root) devices {
	t.Helper()
	f, err := root.Open(".")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, ok := device(f)
	if !ok {
		t.Fatal("the device is not known")
	}
	return devices{d, d}
}
