package schedule

import "github.com/modpipe/modpipe/report"

// fate is what becomes of a module when its needs have ended.
type fate uint8

const (
	undecided fate = iota // a need that matters has not ended
	runs
	skips
	dependencyFails
	cancels
)

// ended is how one need of a module ended.
type ended struct {
	status   report.Status
	optional bool
}

// fateOf is the table of fates. Failure decides before cancellation and that
// before skipping, so that the order in which needs end does not matter; a
// need that failed decides immediately. The index is that of the need that
// decided; −1 without one.
func fateOf(needs []ended, alwaysRun bool) (fate, int) {
	if alwaysRun {
		return fateOfAlwaysRun(needs)
	}
	open, cancelled, skipped := false, -1, -1
	for i, n := range needs {
		switch {
		case n.status.Bad():
			return dependencyFails, i
		case !n.status.Terminal():
			open = true
		case n.status == report.Cancelled && cancelled < 0:
			cancelled = i
		case n.status == report.Skipped && !n.optional && skipped < 0:
			skipped = i
		}
	}
	switch {
	case open:
		return undecided, -1
	case cancelled >= 0:
		return cancels, cancelled
	case skipped >= 0:
		return skips, skipped
	}
	return runs, -1
}

// fateOfAlwaysRun: runs once every need has ended, unless all of them were
// skipped and one of these was required.
func fateOfAlwaysRun(needs []ended) (fate, int) {
	root := -1
	all := len(needs) > 0
	for i, n := range needs {
		if !n.status.Terminal() {
			return undecided, -1
		}
		if n.status != report.Skipped {
			all = false
		} else if !n.optional && root < 0 {
			root = i
		}
	}
	if all && root >= 0 {
		return skips, root
	}
	return runs, -1
}
