package kv

import (
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
)

// decode decodes the value of an entry. jobs.ErrNewer, jobs.ErrMalformed.
func decode[M jobs.Message](e jetstream.BucketEntry) (M, error) {
	if e.Unread != nil {
		var zero M
		return zero, e.Unread
	}
	return jobs.Unmarshal[M](e.Value)
}
