package schedule_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

const readers = `
name: p
fail-fast: false
modules:
  list: {run: "true"}
  yes: {needs: list, if: "needs.list.outputs.word == 'go'", run: "true"}
  no: {needs: list, if: "needs.list.outputs.word == 'stop'", run: "true"}
  each: {needs: list, matrix: {x: "${{ fromJSON(needs.list.outputs.all) }}"}, run: "true"}
  text: {needs: list, env: {WORD: "${{ needs.list.outputs.word }}"}, run: "true"}
`

// large makes the module list store its outputs by reference.
func large(p *player) func(string, jobs.Attempt) jobs.Outcome {
	p.stored = map[string]jobs.Value{"d1": jobs.OutputsOf(map[string]string{"word": "go", "all": "[1,2]"})}
	return func(name string, n jobs.Attempt) jobs.Outcome {
		o := ok(name, n)
		if name == "list" {
			o.Outputs = jobs.Value{Ref: jobs.Blob{SHA256: "d1", Bytes: 1 << 20}}
		}
		return o
	}
}

func TestValuesByReferenceAreFetchedBeforeTheyAreRead(t *testing.T) {
	p := newPlayer(t, readers, nil)
	p.ends = large(p)
	want := map[string]string{
		"list": "succeeded", "yes": "succeeded", "text": "succeeded", "each (x=1)": "succeeded", "each (x=2)": "succeeded",
		"no": "skipped (its condition is false: needs.list.outputs.word == 'stop')",
	}
	if diff := cmp.Diff(want, ended(p.play(4))); diff != "" {
		t.Errorf("modules (-want +got):\n%s", diff)
	}
}

func TestFailedFetchFailsTheModuleThatReads(t *testing.T) {
	p := newPlayer(t, readers, nil)
	p.ends = large(p)
	p.stored = nil
	want := map[string]string{
		"list": "succeeded", "yes": "failed (if: fetch the outputs of list: not found)", "no": "failed (if: fetch the outputs of list: not found)",
		"each": "failed (matrix: fetch the outputs of list: not found)", "text": "failed (fetch the outputs of list: not found)",
	}
	if diff := cmp.Diff(want, ended(p.play(4))); diff != "" {
		t.Errorf("modules (-want +got):\n%s", diff)
	}
}

// TestJobCarriesTheResolvedCommand: the caller has nothing left to evaluate.
func TestJobCarriesTheResolvedCommand(t *testing.T) {
	p := newPlayer(t, readers, nil)
	p.ends = large(p)
	p.play(4)
	job := p.jobs["text"]
	if want := []pipeline.KeyValue{{Key: "WORD", Value: "go"}}; job == nil || !slices.Equal(job.Command.Env, want) || job.Command.Run != "true" {
		t.Errorf("the job is %+v", job)
	}
}

// TestOrchestratorsAtOnePositionDecideTheSame: the decisions of an orchestrator
// that takes over are those of the one before it.
func TestOrchestratorsAtOnePositionDecideTheSame(t *testing.T) {
	p := newPlayer(t, readers, nil)
	p.ends = large(p)
	p.d = schedule.NewDispatcher(p.run, p.fleet(4))
	p.decideUntilPublished()
	p.finishFirst()
	first, second := p.evaluateAll(), p.evaluateAll()
	if len(first) == 0 || !slices.Equal(first, second) {
		t.Errorf("one decides %v, another %v", first, second)
	}
}

// evaluateAll is what a new dispatcher decides now, until it waits for the log.
func (p *player) evaluateAll() (decided []string) {
	p.d = schedule.NewDispatcher(p.run, p.fleet(4))
	for range 5 {
		actions, _ := p.d.Decide(p.now)
		for _, a := range actions {
			switch a := a.(type) {
			case schedule.Prepare:
				p.d.Prepared(a.Lane, 1)
			case schedule.Fetch:
				p.fetch(a)
			case schedule.Publish:
				decided = append(decided, fmt.Sprint("publish ", a.Name, a.Command.Env))
			case schedule.Close:
				decided = append(decided, fmt.Sprint("close ", a.Cell, a.Outcome.Status, a.Outcome.Reason))
			case schedule.Write:
				decided = append(decided, fmt.Sprint("write ", a.Record.Expansion))
			}
		}
	}
	return decided
}

// TestJobOfAClosedAttemptIsNotPublished: the run is cancelled while the values
// are fetched that the job's texts read.
func TestJobOfAClosedAttemptIsNotPublished(t *testing.T) {
	const src = `
name: p
modules:
  list: {run: "true"}
  text: {needs: list, env: {WORD: "${{ needs.list.outputs.word }}"}, run: "true"}
`
	p := newPlayer(t, src, nil)
	p.ends = large(p)
	p.d = schedule.NewDispatcher(p.run, p.fleet(4))
	p.decideUntilPublished()
	p.finishFirst()
	var fetch schedule.Fetch
	actions, _ := p.d.Decide(p.now)
	for _, a := range actions {
		fetch, _ = a.(schedule.Fetch)
	}
	if len(fetch.Refs) != 1 {
		t.Fatalf("it decides %v, not to fetch one value", actions)
	}
	p.cancel("1")
	p.d.Fetched(fetch, []jobs.Value{p.stored["d1"]}, nil)
	actions, _ = p.d.Decide(p.now)
	for _, a := range actions {
		if _, publishes := a.(schedule.Publish); publishes {
			t.Errorf("it publishes the job of a cancelled module")
		}
		p.perform(a)
	}
	if s := p.run.StatusOf("text"); s != report.Cancelled {
		t.Errorf("the module is %s", s)
	}
}

// TestLateEndOfAFamilyIsNoNoise: the run is cancelled, which ends the family,
// before the outcome arrives that was to close it.
func TestLateEndOfAFamilyIsNoNoise(t *testing.T) {
	p := newPlayer(t, readers, nil)
	p.ends = large(p)
	p.d = schedule.NewDispatcher(p.run, p.fleet(4))
	p.decideUntilPublished()
	p.finishFirst()
	p.cancel("1")
	p.write("each", "each", jobs.Record{Outcome: &jobs.Outcome{Status: report.AttemptFailed, Error: "matrix: the list cannot be read"}})
	if p.run.Skipped() || p.run.StatusOf("each") != report.Cancelled {
		t.Errorf("the family is %s; the record is noise: %v", p.run.StatusOf("each"), p.run.Skipped())
	}
}
