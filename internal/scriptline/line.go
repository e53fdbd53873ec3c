package scriptline

import (
	"strconv"
	"strings"
)

// Line is the line at which the script failed, and its text, by the end of the
// file that it wrote: empty when it wrote none. Line 0 means that the line is
// not known.
func (s *Script) Line(record string) (int, string) {
	line := s.last
	if lines := strings.Fields(record); len(lines) > 0 {
		n, err := strconv.Atoi(lines[len(lines)-1])
		if err != nil || !s.marked[n] {
			return 0, ""
		}
		line = n
	}
	if line == 0 {
		return 0, ""
	}
	return line, strings.TrimSpace(s.source[line-1])
}
