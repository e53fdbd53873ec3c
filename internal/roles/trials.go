package roles

import (
	"slices"
	"strings"

	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// Trial is one use of NATS that shows whether a user has a permission.
type Trial struct {
	Subject   string
	Subscribe bool
	Needed    bool // by the role; else the role must not have it
}

// Trials lists what a role needs, and what it must not have, with scratch in the place of
// every name; o is valid. A program that tries them publishes only messages that are refused.
func Trials(r Role, o Options, scratch string) []Trial {
	own := Of(r, o)
	var trials []Trial
	add := func(pattern string, subscribe, needed bool) {
		t := Trial{Subject: pattern, Subscribe: subscribe, Needed: needed}
		if !subscribe || !needed {
			t.Subject = concrete(pattern, scratch)
		}
		allowed := own.Publish
		if subscribe {
			allowed = own.Subscribe
		}
		if needed || !slices.ContainsFunc(allowed, func(p string) bool { return Covers(p, t.Subject) }) {
			trials = append(trials, t)
		}
	}
	for _, p := range own.Publish {
		add(p, false, true)
	}
	for _, p := range own.Subscribe {
		add(p, true, true)
	}
	others := ofOthers(scratch)
	for _, p := range slices.Concat(others.Publish, dangerous(r)) {
		add(p, false, false)
	}
	for _, p := range others.Subscribe {
		add(p, true, false)
	}
	for _, p := range []string{">", "_INBOX.>", "mp.>", streams.AllJobs, "$KV.mp-workers.>", api + ">"} {
		if !slices.Contains(own.Subscribe, p) {
			trials = append(trials, Trial{Subject: p, Subscribe: true})
		}
	}
	slices.SortFunc(trials, func(a, b Trial) int { return strings.Compare(a.Subject, b.Subject) })
	return slices.Compact(trials)
}

// ofOthers are the permissions of all roles, those of a worker with scratch as its group.
// An orchestrator's mp.> is left out: dangerous names the subjects below it.
func ofOthers(scratch string) (all Permissions) {
	for _, p := range []Permissions{Of(Orchestrator, Options{}), Of(Worker, Options{Group: scratch, Namespace: scratch}), Of(Submitter, Options{})} {
		all.Publish, all.Subscribe = append(all.Publish, p.Publish...), append(all.Subscribe, p.Subscribe...)
	}
	all.Publish = slices.DeleteFunc(all.Publish, func(p string) bool { return p == "mp.>" })
	return all
}

// dangerous are calls and subjects with which one user could do what another one may. An
// orchestrator has those of modpipe.
func dangerous(r Role) (subjects []string) {
	id := jobs.AttemptID{Module: "*", Attempt: 1}
	subjects = []string{
		topology.Job("*", "*", id), topology.Run("*", topology.Spec), topology.Run("*", topology.Cancel), topology.Run("*", topology.Control),
		topology.Run("*", topology.End), topology.Cell("*", "*"), topology.WorkerControl("*.*"), topology.WorkerSecret("*.*"),
		api + "STREAM.CREATE.*", api + "STREAM.INFO.*",
	}
	for _, s := range streams.All() {
		subjects = append(subjects, api+"STREAM.DELETE."+s.Name, api+"STREAM.MSG.DELETE."+s.Name, api+"STREAM.RESTORE."+s.Name,
			api+"CONSUMER.DURABLE.CREATE."+s.Name+".*", api+"DIRECT.GET."+s.Name)
	}
	if r == Orchestrator {
		return nil
	}
	return subjects
}

// concrete is a subject that a pattern selects.
func concrete(pattern, scratch string) string {
	tokens := strings.Split(pattern, ".")
	for i, token := range tokens {
		if token == "*" || token == ">" {
			tokens[i] = scratch
		}
	}
	return strings.Join(tokens, ".")
}

// Covers reports whether a pattern selects a subject, or everything that another pattern
// selects.
func Covers(pattern, subject string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range p {
		switch {
		case token == ">":
			return len(s) > i
		case i >= len(s) || s[i] == ">":
			return false
		case token != "*" && token != s[i]:
			return false
		}
	}
	return len(p) == len(s)
}
