package broker

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/modpipe/modpipe/jobs"
)

// names builds the names of streams, buckets and subjects from a prefix.
type names struct{ prefix string }

var prefixPattern = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)

func (n names) stream(kind string) string { return strings.ToUpper(n.prefix) + "_" + kind }
func (n names) jobsStream() string        { return n.stream("JOBS") }
func (n names) runsStream() string        { return n.stream("RUNS") }
func (n names) logsStream() string        { return n.stream("LOGS") }
func (n names) bucket(kind string) string { return n.prefix + "-" + kind }
func (n names) blobs() string             { return n.bucket("blobs") }

func (n names) job(lane jobs.Lane, run jobs.RunID, id jobs.AttemptID) string {
	return n.prefix + ".job." + string(lane) + "." + string(run) + "." + string(id.Module) + "." + strconv.Itoa(int(id.Attempt))
}
func (n names) jobsAll() string                 { return n.prefix + ".job.>" }
func (n names) jobsOf(lane jobs.Lane) string    { return n.prefix + ".job." + string(lane) + ".>" }
func (n names) jobsOfRun(run jobs.RunID) string { return n.prefix + ".job.*." + string(run) + ".>" }
func (n names) bellsAll() string                { return n.prefix + ".bell.>" }
func (n names) bell(lane jobs.Lane) string      { return n.prefix + ".bell." + string(lane) + ".>" }
func (n names) next(lane jobs.Lane) string {
	return "$JS.API.CONSUMER.MSG.NEXT." + n.jobsStream() + "." + string(lane)
}
func (n names) runsAll() string              { return n.prefix + ".run.>" }
func (n names) runAll(run jobs.RunID) string { return n.run(run, ">") }
func (n names) run(run jobs.RunID, s string) string {
	return n.prefix + ".run." + string(run) + "." + s
}
func (n names) cell(run jobs.RunID, t jobs.ModuleID) string { return n.run(run, "mod."+string(t)) }
func (n names) logsAll() string                             { return n.prefix + ".log.>" }
func (n names) log(run jobs.RunID, id jobs.AttemptID) string {
	return n.prefix + ".log." + string(run) + "." + string(id.Module) + "." + strconv.Itoa(int(id.Attempt))
}

// logs is the filter for a run's output: of all modules with an empty token,
// of all attempts with attempt 0.
func (n names) logs(run jobs.RunID, moduleID jobs.ModuleID, attempt jobs.Attempt) string {
	switch {
	case moduleID == "" && attempt == 0:
		return n.prefix + ".log." + string(run) + ".>"
	case moduleID == "":
		return n.prefix + ".log." + string(run) + ".*." + strconv.Itoa(int(attempt))
	case attempt == 0:
		return n.prefix + ".log." + string(run) + "." + string(moduleID) + ".*"
	}
	return n.log(run, jobs.AttemptID{Module: moduleID, Attempt: attempt})
}

func (n names) runControl(run jobs.RunID) string { return n.prefix + ".ctl.run." + string(run) }
func (n names) runControls() string              { return n.prefix + ".ctl.run.*" }
func (n names) question(run jobs.RunID, worker string) string {
	return n.prefix + ".ask." + string(run) + "." + worker
}

func (n names) questions(run jobs.RunID) string    { return n.prefix + ".ask." + string(run) + ".>" }
func (n names) workerControl(worker string) string { return n.prefix + ".ctl.worker." + worker }

// record returns the subject of a record.
func (n names) record(run jobs.RunID, cell jobs.ModuleID, rec *jobs.Record) (string, error) {
	if !jobs.ValidID(string(run)) {
		return "", fmt.Errorf("%q cannot name a run", run)
	}
	var subject string
	set := 0
	put := func(there bool, s string) {
		if there {
			subject = s
			set++
		}
	}
	put(rec.Spec != nil, n.run(run, "spec"))
	put(rec.Claim != nil, n.cell(run, cell))
	put(rec.Outcome != nil, n.cell(run, cell))
	put(rec.Takeover != nil, n.run(run, "ctl"))
	put(rec.Grant != nil, n.run(run, "ctl"))
	put(rec.Expansion != nil, n.run(run, "ctl"))
	put(rec.Nobody != nil, n.run(run, "ctl"))
	put(rec.Cancel != nil, n.run(run, "cancel"))
	put(rec.End != nil, n.run(run, "end"))
	switch inCell := rec.Claim != nil || rec.Outcome != nil; {
	case set != 1:
		return "", fmt.Errorf("a record has exactly one part, this one has %d", set)
	case inCell && !validToken(string(cell)):
		return "", fmt.Errorf("%q cannot name a module's cell", cell)
	case !inCell && cell != "":
		return "", fmt.Errorf("a record of the run itself does not go into the cell %s", cell)
	}
	return subject, nil
}

// parseRun splits a subject of a run's log.
func (n names) parseRun(subject string) (run jobs.RunID, cell jobs.ModuleID, ok bool) {
	rest, ok := strings.CutPrefix(subject, n.prefix+".run.")
	if !ok {
		return "", "", false
	}
	id, rest, ok := strings.Cut(rest, ".")
	if !ok {
		return "", "", false
	}
	if token, ok := strings.CutPrefix(rest, "mod."); ok {
		return jobs.RunID(id), jobs.ModuleID(token), true
	}
	return jobs.RunID(id), "", true
}

// parseLog finds the attempt in a subject of output.
func (n names) parseLog(subject string) (jobs.AttemptID, bool) {
	parts := strings.Split(subject, ".")
	if len(parts) != 5 {
		return jobs.AttemptID{}, false
	}
	return parseKey(parts[3], parts[4])
}

// parseJob splits a subject of the queue.
func (n names) parseJob(subject string) (lane jobs.Lane, run jobs.RunID, id jobs.AttemptID, ok bool) {
	parts := strings.Split(subject, ".")
	if len(parts) != 6 {
		return "", "", jobs.AttemptID{}, false
	}
	id, ok = parseKey(parts[4], parts[5])
	return jobs.Lane(parts[2]), jobs.RunID(parts[3]), id, ok
}

// isJob reports whether a subject is that of a job's attempt.
func (n names) isJob(subject string, job *jobs.Job) bool {
	_, _, id, ok := n.parseJob(subject)
	return ok && id == (jobs.AttemptID{Module: job.Module, Attempt: job.Attempt}) && subject == n.job(job.Lane, job.Run, id)
}

func parseKey(token, attempt string) (jobs.AttemptID, bool) {
	n, err := strconv.Atoi(attempt)
	return jobs.AttemptID{Module: jobs.ModuleID(token), Attempt: jobs.Attempt(n)}, err == nil && n > 0
}

// validToken reports whether s can be one token of a subject.
func validToken(s string) bool {
	return s != "" && !strings.ContainsAny(s, " .*>\t\r\n\x00")
}
