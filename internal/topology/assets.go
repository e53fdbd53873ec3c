package topology

import (
	"strings"

	"github.com/modpipe/modpipe/jobs"
)

// BlobsStream is the stream of BlobsBucket.
const BlobsStream = "OBJ_" + BlobsBucket

// Asset is a stream, that of a bucket too, with the subjects that it stores.
type Asset struct {
	Name     string
	Subjects []string
}

// AllStreams lists the streams, and then those of the buckets.
func AllStreams() (all []Asset) {
	for _, s := range Streams() {
		all = append(all, Asset{s.Name, s.Subjects})
	}
	for _, kind := range []string{"workers", "lanes", "leases", "locks", "stats", "cache", "sweep"} {
		all = append(all, Asset{"KV_" + Bucket(kind), []string{"$KV." + Bucket(kind) + ".>"}})
	}
	return all
}

// Value selects the entries ("M"), the chunks ("C") or both ("*") of the values of a
// namespace.
func Value(kind, namespace string) string {
	return "$O." + BlobsBucket + "." + kind + "." + namespace + ".>"
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
