package topology

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// Job is the subject of the job for one attempt.
func Job(lane jobs.Lane, run jobs.RunID, id jobs.AttemptID) string {
	return "mp.job." + string(lane) + "." + string(run) + "." + string(id.Module) + "." + strconv.Itoa(int(id.Attempt))
}

// JobsOfLane selects the jobs of a lane.
func JobsOfLane(lane jobs.Lane) string { return "mp.job." + string(lane) + ".>" }

// JobsOfRun selects the jobs of a run on all lanes.
func JobsOfRun(run jobs.RunID) string { return "mp.job.*." + string(run) + ".>" }

// Bell selects the bells of a lane: the headers of its new jobs.
func Bell(lane jobs.Lane) string { return "mp.bell." + string(lane) + ".>" }

// RankHeader is the header of a job's message with the job's rank (jobs.Rank). The
// bell of its lane repeats it.
const RankHeader = "Mp-Rank"

// NextJobs is the subject on which jobs of a lane are requested.
func NextJobs(lane jobs.Lane) string {
	return "$JS.API.CONSUMER.MSG.NEXT." + streams.Jobs + "." + string(lane)
}

// Kinds of the records of a run that have a subject each.
const (
	Spec    = "spec"
	Control = "ctl"
	Cancel  = "cancel"
	End     = "end"
)

// Run is the subject of a kind of record of a run; run "*" selects those of all
// runs.
func Run(run jobs.RunID, kind string) string { return "mp.run." + string(run) + "." + kind }

// Records selects all records of a run.
func Records(run jobs.RunID) string { return Run(run, ">") }

// Cell is the subject of a module's records.
func Cell(run jobs.RunID, module jobs.ModuleID) string { return Run(run, "mod."+string(module)) }

// Log is the subject of the output of one attempt.
func Log(run jobs.RunID, id jobs.AttemptID) string {
	return "mp.log." + string(run) + "." + string(id.Module) + "." + strconv.Itoa(int(id.Attempt))
}

// Logs selects a run's output: that of all modules with an empty module, that of
// all attempts with attempt 0.
func Logs(run jobs.RunID, module jobs.ModuleID, attempt jobs.Attempt) string {
	switch {
	case module == "" && attempt == 0:
		return "mp.log." + string(run) + ".>"
	case module == "":
		return "mp.log." + string(run) + ".*." + strconv.Itoa(int(attempt))
	case attempt == 0:
		return "mp.log." + string(run) + "." + string(module) + ".*"
	}
	return Log(run, jobs.AttemptID{Module: module, Attempt: attempt})
}

// Question is the subject of a worker's questions about a run.
func Question(run jobs.RunID, worker string) string { return ask(run, WorkerKey(worker)) }

// Questions selects the questions of all workers about a run.
func Questions(run jobs.RunID) string { return ask(run, ">") }

func ask(run jobs.RunID, key string) string { return "mp.ask." + string(run) + "." + key }

// Record returns the subject of a record.
func Record(run jobs.RunID, cell jobs.ModuleID, rec *jobs.Record) (string, error) {
	if !jobs.ValidID(string(run)) {
		return "", fmt.Errorf("%q cannot name a run", run)
	}
	var subject string
	set := 0
	put := func(present bool, s string) {
		if present {
			subject = s
			set++
		}
	}
	put(rec.Spec != nil, Run(run, Spec))
	put(rec.Claim != nil, Cell(run, cell))
	put(rec.Outcome != nil, Cell(run, cell))
	put(rec.Takeover != nil, Run(run, Control))
	put(rec.Grant != nil, Run(run, Control))
	put(rec.Expansion != nil, Run(run, Control))
	put(rec.Nobody != nil, Run(run, Control))
	put(rec.Note != nil, Run(run, Control))
	put(rec.Released != nil, Run(run, Control))
	put(rec.Rejected != nil, Run(run, Control))
	put(rec.Cancel != nil, Run(run, Cancel))
	put(rec.End != nil, Run(run, End))
	switch inCell := rec.Claim != nil || rec.Outcome != nil; {
	case set != 1:
		return "", fmt.Errorf("a record has exactly one part, this one has %d", set)
	case inCell && !ValidToken(string(cell)):
		return "", fmt.Errorf("%q cannot name a module's cell", cell)
	case !inCell && cell != "":
		return "", fmt.Errorf("a record of the run itself does not go into the cell %s", cell)
	}
	return subject, nil
}

// ParseRun splits the subject of a record. kind is empty for a record of a cell.
func ParseRun(subject string) (run jobs.RunID, cell jobs.ModuleID, kind string, ok bool) {
	rest, ok := strings.CutPrefix(subject, "mp.run.")
	if !ok {
		return "", "", "", false
	}
	id, rest, ok := strings.Cut(rest, ".")
	if !ok {
		return "", "", "", false
	}
	if module, ok := strings.CutPrefix(rest, "mod."); ok {
		return jobs.RunID(id), jobs.ModuleID(module), "", true
	}
	return jobs.RunID(id), "", rest, true
}

// ParseLog finds the attempt in a subject of output.
func ParseLog(subject string) (jobs.AttemptID, bool) {
	parts := strings.Split(subject, ".")
	if len(parts) != 5 {
		return jobs.AttemptID{}, false
	}
	return parseAttempt(parts[3], parts[4])
}

// ParseJob splits the subject of a job.
func ParseJob(subject string) (lane jobs.Lane, run jobs.RunID, id jobs.AttemptID, ok bool) {
	parts := strings.Split(subject, ".")
	if len(parts) != 6 {
		return "", "", jobs.AttemptID{}, false
	}
	id, ok = parseAttempt(parts[4], parts[5])
	return jobs.Lane(parts[2]), jobs.RunID(parts[3]), id, ok
}

// IsJob reports whether a subject is that of a job's attempt.
func IsJob(subject string, job *jobs.Job) bool {
	_, _, id, ok := ParseJob(subject)
	return ok && id == (jobs.AttemptID{Module: job.Module, Attempt: job.Attempt}) && subject == Job(job.Lane, job.Run, id)
}

func parseAttempt(module, attempt string) (jobs.AttemptID, bool) {
	n, err := strconv.Atoi(attempt)
	return jobs.AttemptID{Module: jobs.ModuleID(module), Attempt: jobs.Attempt(n)}, err == nil && n > 0
}

// ValidToken reports whether s can be one token of a subject.
func ValidToken(s string) bool {
	return s != "" && !strings.ContainsAny(s, " .*>\t\r\n\x00")
}
