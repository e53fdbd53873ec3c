package pipeline

import (
	"fmt"
	"strings"
)

// didYouMean suggests the known word that is nearest to word; empty when none is near.
func didYouMean(word string, known []string) string {
	if best := Nearest(word, known, max(1, len(word)/3)); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return ""
}

// knownOr suggests the nearest word, else lists all that are known, if they are few.
func knownOr(word string, known []string, what string) string {
	if s := didYouMean(word, known); s != "" {
		return s
	}
	if len(known) == 0 || len(known) > 12 {
		return ""
	}
	return what + ": " + strings.Join(known, ", ")
}

// maxWord is how long a word may be for a suggestion, in bytes.
const maxWord = 200

// Nearest returns the known word that differs least from word, letter case
// aside; "" when each differs by more than within edits. An edit is an
// insertion, a deletion, a replacement, or a swap of neighbours.
func Nearest(word string, known []string, within int) string {
	if len(word) > maxWord {
		return ""
	}
	word = strings.ToLower(word)
	best, least := "", within+1
	for _, k := range known {
		if len(k)-len(word) >= least || len(word)-len(k) >= least {
			continue // at least so many insertions or deletions
		}
		if d := distance(word, strings.ToLower(k), least); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the edits that turn a into b. It returns limit when there are
// as many or more.
func distance(a, b string, limit int) int {
	if len(b) > 2*maxWord {
		return limit
	}
	var rows [3][2*maxWord + 1]int
	before, last, row := rows[0][:], rows[1][:], rows[2][:]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		least := row[0]
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(row[j]+1, last[j+1]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
			least = min(least, row[j+1])
		}
		if least > limit {
			return limit // a swap reaches back one row, and saves one edit at most
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], limit)
}
