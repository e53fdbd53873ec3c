package tree

import (
	"errors"
	"strings"
)

const readFlags = 0

// checkName refuses names that mean something else to Windows than to the system
// on which the tree was taken: a separator, a stream of a file, or what programs
// cannot open.
func checkName(name string) error {
	switch {
	case strings.ContainsAny(name, `<>:"\|?*`) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }):
		return errors.New("Windows allows no such character in a name")
	case strings.HasSuffix(name, ".") || strings.HasSuffix(name, " "):
		return errors.New("Windows allows no name that ends in a dot or a space")
	}
	return nil
}
