package topology

import (
	"testing"

	"github.com/modpipe/modpipe/jobs"
)

// FuzzSubjects: the parsed parts of a subject build the same subject.
func FuzzSubjects(f *testing.F) {
	for _, s := range []string{"mp.job.any.r.m.1", "mp.log.r.m.1", "mp.run.r.mod.m", "mp.run.r.spec", "mp.log.r.m.99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		if lane, run, id, ok := ParseJob(subject); ok && IsJob(subject, &jobs.Job{Lane: lane, Run: run, Module: id.Module, Attempt: id.Attempt}) != (Job(lane, run, id) == subject) {
			t.Fatalf("%q", subject)
		}
		if id, ok := ParseLog(subject); ok && id.Attempt < 1 {
			t.Fatalf("%q is attempt %d", subject, id.Attempt)
		}
		ParseRun(subject)
	})
}
