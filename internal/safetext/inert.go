package safetext

import (
	"regexp"
	"strings"
)

// Commands that a CI system finds in a log. The log of a program may be
// shown by any of them, also when its environment does not say so, so all are
// made inert everywhere: a blank in them is enough.
var (
	// ##vso[ and ##[ of Azure Pipelines, ##[ of GitHub Actions and
	// ##teamcity[ count anywhere in a line.
	bracketed = regexp.MustCompile(`(?i)##([a-z]*\[)`)
	// section_start: and section_end: of GitLab count anywhere, in upper or lower case.
	sectioned = regexp.MustCompile(`(?i)(section)_(start|end):`)
	// ::error:: of GitHub Actions counts at the beginning of a line, behind blanks too.
	colons = regexp.MustCompile(`(?m)^((?:\s|\x1b\[[0-9;:]*m)*):(:)`)
	// Lines that begin so are headings to Buildkite.
	headings = regexp.MustCompile(`(?m)^([-+~^])([-+~^]{2})`)
)

// inert is text without commands. Only text at the beginning of a
// line can be a heading.
func inert(s string, heading bool) string {
	if strings.Contains(s, "##") {
		s = bracketed.ReplaceAllString(s, "## $1")
	}
	if strings.Contains(s, ":") && strings.Contains(s, "_") {
		s = sectioned.ReplaceAllString(s, "${1}_$2 :")
	}
	if strings.Contains(s, "::") {
		s = colons.ReplaceAllString(s, "$1: $2")
	}
	if heading {
		s = headings.ReplaceAllString(s, "$1 $2")
	}
	return s
}
