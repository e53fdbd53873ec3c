package topology

import (
	"strings"

	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// LongestBody is the largest body that travels in its message, in bytes: no single
// message delays a heartbeat for long on a slow link.
const LongestBody = 128 << 10

// LongestMessage is LongestBody with headers.
const LongestMessage = LongestBody + 8<<10

// Value selects the entries ("M"), the chunks ("C") or both ("*") of the values of a
// namespace.
func Value(kind, namespace string) string {
	return "$O." + streams.BlobsBucket + "." + kind + "." + namespace + ".>"
}

// SpecBodies is the namespace of long specifications and other records that only
// orchestrators and submitters read.
const SpecBodies = "_specs"

// JobBodies is the namespace of long jobs of a lane. Only workers with the lane read it.
func JobBodies(lane jobs.Lane) string { return "_job-" + string(lane) }

// BodyNamespace is the namespace of bodies that are too long for a message of a subject.
func BodyNamespace(subject string) string {
	if lane, _, _, ok := ParseJob(subject); ok {
		return JobBodies(lane)
	}
	if _, cell, _, ok := ParseRun(subject); ok && cell == "" || strings.HasPrefix(subject, "mp.job.") {
		return SpecBodies
	}
	return jobs.ValuesNamespace
}
