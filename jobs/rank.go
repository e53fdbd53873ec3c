package jobs

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/modpipe/modpipe/pipeline"
)

// Rank orders the lanes among which a free slot may choose. It travels with
// a job, outside its body, so that the bell of a lane carries it too. It is a
// hint: a worker that does not know it serves its lanes in turn.
type Rank struct {
	Priority pipeline.Priority // of the job
	Slots    int               // that live workers have for the job's lane; 0 = unknown
}

// Compare is negative when a slot that could take either takes a job of rank
// r first: the higher priority, then the lane that fewer slots can serve.
func (r Rank) Compare(o Rank) int {
	return cmp.Or(cmp.Compare(o.Priority, r.Priority), cmp.Compare(r.Supply(), o.Supply()))
}

// Supply is Slots, where an unknown number counts as the largest.
func (r Rank) Supply() int {
	if r.Slots <= 0 {
		return math.MaxInt
	}
	return r.Slots
}

// String is the form in which a rank travels: "1/16".
func (r Rank) String() string { return fmt.Sprintf("%d/%d", r.Priority, r.Slots) }

// ParseRank reads what String writes. Text of another form, such as that of
// another version, is the zero rank: normal priority, unknown slots.
func ParseRank(s string) Rank {
	first, second, _ := strings.Cut(s, "/")
	priority, err := strconv.Atoi(first)
	if err != nil || priority < int(pipeline.Low) || priority > int(pipeline.Critical) {
		return Rank{}
	}
	slots, err := strconv.Atoi(second)
	if err != nil || slots < 0 {
		return Rank{}
	}
	return Rank{Priority: pipeline.Priority(priority), Slots: slots}
}
