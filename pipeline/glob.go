package pipeline

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/bmatcuk/doublestar/v4"
)

const (
	artifactPattern  = `^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,98}[A-Za-z0-9_-])?$`
	artifactsPattern = `^[A-Za-z0-9_*?][A-Za-z0-9_.*?-]{0,99}$`
	globPattern      = `^[^/\\]`
)

var (
	artifactRegexp  = regexp.MustCompile(artifactPattern)
	artifactsRegexp = regexp.MustCompile(artifactsPattern)
	innerRoot       = regexp.MustCompile(`[{,]/`)
)

// validArtifact checks the name of an artifact. It may be the name of a directory, too.
func validArtifact(s string) error {
	if !artifactRegexp.MatchString(s) {
		return fmt.Errorf("%q is not the name of an artifact: letters, digits, _ - and ., at most 100, no - or . first and no . last", s)
	}
	return nil
}

// validArtifacts checks the name of an artifact, or a pattern of names.
func validArtifacts(s string) error {
	if !isPattern(s) {
		return validArtifact(s)
	}
	if !artifactsRegexp.MatchString(s) {
		return fmt.Errorf("%q is not a pattern of names: letters, digits, _ - . and * for any text, ? for one character", s)
	}
	return nil
}

// isPattern reports whether the name of a consumed artifact is a pattern.
func isPattern(name string) bool { return strings.ContainsAny(name, "*?") }

// validArtifactGlob checks a glob that may exclude.
func validArtifactGlob(s string) error { return validGlob(strings.TrimPrefix(s, "!")) }

func validGlob(s string) error { _, err := parseGlob(s); return err }

// parseGlob reads a glob below the workspace. A directory that ends in a slash is all that is in it.
func parseGlob(s string) (string, error) {
	if err := plainPath(s, "a glob"); err != nil {
		return "", err
	}
	if strings.HasPrefix(s, "!") {
		return "", fmt.Errorf("%q excludes: ! is for the paths of artifacts", s)
	}
	if innerRoot.MatchString(s) {
		return "", fmt.Errorf("%q is absolute: globs are below the workspace", s)
	}
	clean := path.Clean(s)
	if clean == "." || strings.HasSuffix(s, "/") {
		clean = path.Join(clean, "**")
	}
	if !doublestar.ValidatePattern(clean) {
		return "", fmt.Errorf("%q is not a glob: a [ or { is not closed", s)
	}
	return clean, nil
}

// parseArtifactGlob is parseGlob for one that may exclude.
func parseArtifactGlob(s string) (string, error) {
	rest, excludes := strings.CutPrefix(s, "!")
	clean, err := parseGlob(rest)
	if excludes {
		clean = "!" + clean
	}
	return clean, err
}

// plainPath refuses what is not a slash-separated path below the workspace.
func plainPath(s, what string) error {
	if s == "" {
		return fmt.Errorf("%s is empty", what)
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return fmt.Errorf("%s has no control characters: %s", what, quoteShort(s))
	}
	if strings.Contains(s, `\`) {
		return fmt.Errorf(`%q has a backslash: write / between directories, on Windows too`, s)
	}
	if path.IsAbs(s) || len(s) > 1 && s[1] == ':' {
		return fmt.Errorf("%q is absolute: %s is below the workspace", s, what)
	}
	names := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("/{},", r) })
	if slices.Contains(names, "..") {
		return fmt.Errorf("%q leaves the workspace", s)
	}
	return nil
}

func validDestination(s string) error { _, err := parseDestination(s); return err }

// parseDestination reads a directory below the workspace; "" is the workspace itself.
func parseDestination(s string) (string, error) {
	if err := plainPath(s, "a directory"); err != nil {
		return "", err
	}
	if clean := path.Clean(s); clean != "." {
		return clean, nil
	}
	return "", nil
}

// validSubdirectory checks a directory below the workspace that is not the workspace.
func validSubdirectory(s string) error {
	clean, err := parseDestination(s)
	if err == nil && clean == "" {
		return fmt.Errorf("%q is the workspace itself: name a directory below it", s)
	}
	return err
}

// validOtherDir checks a directory relative to the workspace, which may be outside of it.
func validOtherDir(s string) error {
	switch clean := path.Clean(s); {
	case s == "":
		return errors.New("a directory is empty")
	case strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("a directory has no control characters: %s", quoteShort(s))
	case strings.Contains(s, `\`):
		return fmt.Errorf(`%q has a backslash: write / between directories, on Windows too`, s)
	case path.IsAbs(s) || len(s) > 1 && s[1] == ':':
		return fmt.Errorf("%q is absolute: name it relative to the workspace, such as ../site", s)
	case clean == ".":
		return fmt.Errorf("%q is the workspace itself, whose files are there already", s)
	}
	return nil
}
