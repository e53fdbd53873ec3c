package tree

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// Limits on what a tree may claim. Every file system that is in use keeps within
// the first three.
const (
	maxPath   = 4096 // bytes of a path
	maxName   = 255  // bytes of a name in a path
	maxTarget = 4095 // bytes of a link's target
	maxDepth  = 255  // names in a path
)

// check returns an error that names the path, unless the entry may be in a tree.
func (f *File) check() error {
	if err := CheckPath(f.Path); err != nil {
		return err
	}
	switch f.Kind {
	case Regular, Executable:
		if f.Size < 0 || f.Size > math.MaxInt64/2 {
			return fmt.Errorf("%q has a size of %d bytes", f.Path, f.Size)
		}
	case Directory, Link:
		if f.Size != 0 || f.Digest != (Digest{}) {
			return fmt.Errorf("%q is a %s with content", f.Path, f.Kind)
		}
	default:
		return fmt.Errorf("%q has an unknown kind, %d", f.Path, f.Kind)
	}
	if f.Kind == Link {
		return checkTarget(f.Path, f.Target)
	}
	if f.Target != "" {
		return fmt.Errorf("%q is a %s with a link target", f.Path, f.Kind)
	}
	return nil
}

// CheckPath returns an error that names the path, unless it may be in a tree: it
// is relative and clean, is UTF-8, has no "..", and is at most 4096 bytes and 255
// names long.
func CheckPath(path string) error {
	if err := checkPath(path); err != nil {
		return fmt.Errorf("the path %s is refused: %w", quote(path), err)
	}
	return nil
}

func checkPath(path string) error {
	switch {
	case path == "":
		return errors.New("it is empty")
	case len(path) > maxPath:
		return fmt.Errorf("it is longer than %d bytes", maxPath)
	case !utf8.ValidString(path):
		return errors.New("it is not UTF-8")
	case path[0] == '/':
		return errors.New("it is absolute")
	case strings.IndexByte(path, 0) >= 0:
		return errors.New("it holds a zero byte")
	}
	depth, rest := 0, path
	for more := true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		if err := checkPathName(name); err != nil {
			return err
		}
		if depth++; depth > maxDepth {
			return fmt.Errorf("it is more than %d directories deep", maxDepth)
		}
	}
	return nil
}

func checkPathName(name string) error {
	switch {
	case name == "":
		return errors.New("it has an empty name")
	case name == ".":
		return errors.New("it is not clean")
	case name == "..":
		return errors.New("it leads upwards")
	case len(name) > maxName:
		return fmt.Errorf("a name in it is longer than %d bytes", maxName)
	}
	return nil
}

// checkTarget refuses a link that may lead outside the tree. Upward steps are
// taken from the directory of the link, which is a real one. After a name, which
// may be another link, it is unknown where an upward step leads.
func checkTarget(path, target string) error {
	refuse := func(reason string) error {
		return fmt.Errorf("the link %q to %s is refused: %s", path, quote(target), reason)
	}
	switch {
	case target == "":
		return refuse("it has no target")
	case len(target) > maxTarget:
		return refuse(fmt.Sprintf("its target is longer than %d bytes", maxTarget))
	case !utf8.ValidString(target):
		return refuse("its target is not UTF-8")
	case strings.IndexByte(target, 0) >= 0:
		return refuse("its target holds a zero byte")
	case target[0] == '/':
		return refuse("its target is absolute")
	}
	up, named := strings.Count(path, "/"), false
	for name := range strings.SplitSeq(target, "/") {
		switch {
		case name == "" || name == ".":
		case name != "..":
			named = true
		case named:
			return refuse("its target goes upwards after a name, which may lead anywhere; write the target without the detour")
		default:
			up--
		}
		if up < 0 {
			return refuse("its target leads outside")
		}
	}
	return nil
}

// quote shortens what others claim to what a message can show.
func quote(s string) string {
	const most = 300
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
