package snapshot

import (
	"fmt"
	"strconv"
)

// Sent is what a transfer of a snapshot had to send.
type Sent struct {
	Files int
	Bytes int64
}

// Describe returns the line that `run` prints about the snapshot. New is what the
// transfer sent; nil = it is not known.
func (r *Result) Describe(sent *Sent) string {
	fresh := ""
	if sent != nil {
		fresh = fmt.Sprintf(" (%s, %s new)", fileCount(sent.Files), size(sent.Bytes))
	}
	return fmt.Sprintf("workspace  %s, %s%s, from %s", fileCount(r.Files()), size(r.Bytes), fresh, r.From)
}

func fileCount(n int) string {
	if n == 1 {
		return "1 file"
	}
	return thousands(int64(n)) + " files"
}

// thousands writes 1204 as 1,204.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size writes a number of bytes in decimal units: 18 MB.
func size(n int64) string {
	f, units := float64(n), []string{"B", "kB", "MB", "GB", "TB"}
	for f >= 999.5 && len(units) > 1 {
		f, units = f/1000, units[1:]
	}
	if f >= 9.95 || units[0] == "B" {
		return fmt.Sprintf("%.0f %s", f, units[0])
	}
	return fmt.Sprintf("%.1f %s", f, units[0])
}
