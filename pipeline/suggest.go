package pipeline

import (
	"fmt"
	"strings"
)

// didYouMean suggests the known word that is nearest to word; empty when none is near.
func didYouMean(word string, known []string) string {
	if best := nearest(word, known); best != "" {
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

// maxSuggestable is how long a word may be for a correction, in bytes.
const maxSuggestable = 200

func nearest(word string, known []string) string {
	if len(word) > maxSuggestable {
		return ""
	}
	word = strings.ToLower(word)
	best, least := "", 1+max(1, len(word)/3)
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

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that make b of a; limit, when there are as many or more.
func distance(a, b string, limit int) int {
	if len(b) > 2*maxSuggestable {
		return limit
	}
	var rows [3][2*maxSuggestable + 1]int
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
			return limit // a swap reaches back one row, and gains one at most
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], limit)
}
