package doctor

import (
	"fmt"

	"github.com/modpipe/modpipe/internal/phrase"
)

// examineCopies reports how many copies of existing streams and buckets a cluster keeps.
// The requested number only counts when a stream or bucket is created.
func (d *doctor) examineCopies() {
	least, most, there := 0, 0, 0
	var fewer []string
	for i := range d.assets {
		a := &d.assets[i]
		if a.Err != nil {
			continue
		}
		n := max(a.Replicas, 1)
		if there++; there == 1 {
			least = n
		}
		least, most = min(least, n), max(most, n)
		if n < d.Replicas {
			fewer = append(fewer, a.Name)
		}
	}
	text := fmt.Sprintf("%d of every existing stream and bucket", least)
	if least != most {
		text = fmt.Sprintf("%d to %d of the existing streams and buckets", least, most)
	}
	switch {
	case there == 0:
	case len(fewer) > 0:
		d.warn("copies", fmt.Sprintf("--replicas counts where something is made; on a cluster of enough servers `nats stream edit STREAM --replicas %d` changes what is there\n(the stream of a bucket is KV_ and its name)", d.Replicas),
			"%s; fewer than %d of %s", text, d.Replicas, phrase.Few(fewer, 5))
	default:
		d.ok("copies", "%s", text)
	}
}
