package cli

import "strings"

// didYouMean is ": did you mean X?", or nothing when no candidate is near.
func didYouMean(word string, candidates []string) string {
	best, least := "", max(2, len(word)/4)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	if best == "" {
		return ""
	}
	return ": did you mean " + best + "?"
}

// distance is how many letters must be added, dropped or changed to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			next := min(row[j]+1, row[j+1]+1, diagonal+change)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
