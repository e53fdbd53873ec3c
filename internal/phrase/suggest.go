package phrase

import "github.com/modpipe/modpipe/pipeline"

// DidYouMean is ": did you mean X?", or nothing when no candidate is near word.
func DidYouMean(word string, candidates []string) string {
	if best := pipeline.Nearest(word, candidates, max(2, len(word)/4)); best != "" {
		return ": did you mean " + best + "?"
	}
	return ""
}
