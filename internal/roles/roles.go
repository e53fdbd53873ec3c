package roles

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// Role is what a user of NATS is for.
type Role string

// The roles.
const (
	Orchestrator Role = "orchestrator" // decides for runs, and creates what is missing on NATS
	Worker       Role = "worker"       // of one group, with its lanes
	Submitter    Role = "submitter"    // hands runs over, and cancels them
)

// All lists the roles.
func All() []Role { return []Role{Orchestrator, Worker, Submitter} }

// Options narrow a role.
type Options struct {
	Group     string   // of a worker; "" = the default group, AnyGroup = all
	Lanes     []string // of a worker; empty = all
	Namespace string   // of files; "" = jobs.DefaultNamespace
	From      []string // namespaces of files that are read, too
	User      string   // "" = the role, and for a worker its group
	Inbox     string   // prefix of the inboxes; "" = ident.Inbox(User)
}

// AnyGroup makes the role of a worker that of all groups.
const AnyGroup = "*"

// Validate reports what no role can have.
func (o Options) Validate() error {
	if o.Group != "" && o.Group != AnyGroup && !jobs.ValidID(o.Group) {
		return fmt.Errorf("group: %q: want 1 to 64 of A-Z a-z 0-9 _ -", o.Group)
	}
	for _, lane := range o.Lanes {
		if !topology.ValidToken(lane) {
			return fmt.Errorf("lane %q cannot name a lane", lane)
		}
	}
	for _, name := range append([]string{o.Namespace}, o.From...) {
		if name != "" && !jobs.ValidID(name) {
			return fmt.Errorf("cache-namespace: %q: want 1 to 64 of A-Z a-z 0-9 _ -", name)
		}
	}
	return nil
}

// user is the name of the user of a role.
func (r Role) user(o Options) string {
	switch {
	case o.User != "":
		return o.User
	case r == Worker && o.Group != "" && o.Group != jobs.DefaultGroup && o.Group != AnyGroup:
		return string(r) + "-" + o.Group
	}
	return string(r)
}

// Permissions are the subjects that a user may use. Everything else is denied.
type Permissions struct {
	Publish   []string `json:"publish"`
	Subscribe []string `json:"subscribe"`
}

// Of returns the permissions of a role; o is valid.
func Of(r Role, o Options) Permissions {
	inbox := cmp.Or(o.Inbox, ident.Inbox(r.user(o))) + ".>"
	var p Permissions
	switch r {
	case Orchestrator:
		p = orchestrator()
	case Worker:
		p = worker(o)
	case Submitter:
		p = submitter(o)
	}
	p.Subscribe = append([]string{inbox}, p.Subscribe...)
	return p
}

const api = "$JS.API."

// everywhere selects all runs, and so on: every single token.
const everywhere = "*"

func orchestrator() Permissions {
	p := Permissions{
		Publish: []string{"mp.>", api + "INFO", "$JS.ACK." + streams.Jobs + ".>"},
		Subscribe: []string{
			topology.Questions(everywhere), topology.Bell(everywhere), topology.WorkerControl("*.*"), topology.WorkerSecret("*.*"),
			entry("lanes", ">"),
		},
	}
	for _, s := range streams.All() {
		p.Publish = append(p.Publish, s.Subjects...)
		for _, call := range []string{"INFO", "CREATE", "UPDATE", "PURGE", "MSG.GET"} {
			p.Publish = append(p.Publish, api+"STREAM."+call+"."+s.Name)
		}
		for _, call := range []string{"CREATE", "DELETE", "INFO"} {
			p.Publish = append(p.Publish, api+"CONSUMER."+call+"."+s.Name+".>")
		}
		p.Publish = append(p.Publish, api+"DIRECT.GET."+s.Name+".>", api+"CONSUMER.LIST."+s.Name, "$JS.FC."+s.Name+".>")
	}
	p.Publish = append(p.Publish, topology.NextJobs(everywhere))
	p.Publish = slices.DeleteFunc(p.Publish, func(s string) bool { return strings.HasPrefix(s, "mp.") && s != "mp.>" })
	return p
}

// worker may write to the cells and the output of all runs, because no subject of theirs
// has a lane. What it writes for the attempts of others does not verify.
func worker(o Options) Permissions {
	group := workersOf(o.Group)
	key := topology.WorkerKey(group)
	cells, workers, lanes := topology.Cell(everywhere, everywhere), streams.Bucket("workers"), streams.Bucket("lanes")
	p := Permissions{
		Publish: []string{
			cells, topology.Logs(everywhere, everywhere, 0), topology.Question(everywhere, group), entry("workers", key),
			get(streams.Runs, cells), get("KV_"+workers, entry("workers", key)), get("KV_"+lanes, entry("lanes", everywhere)),
		},
		Subscribe: []string{topology.WorkerControl(group), topology.WorkerSecret(group), entry("lanes", ">")},
	}
	for _, stream := range []string{streams.Jobs, streams.Runs, streams.Logs, streams.Blobs, "KV_" + workers, "KV_" + lanes} {
		p.Publish = append(p.Publish, api+"STREAM.INFO."+stream)
	}
	own := []string{jobs.ValuesNamespace, cmp.Or(o.Namespace, jobs.DefaultNamespace)}
	read := slices.Concat(own, o.From)
	if len(o.Lanes) == 0 { // it may receive every job, so it may read every job
		read = []string{everywhere}
	}
	for _, lane := range orAll(o.Lanes) {
		p.Publish = append(p.Publish, topology.NextJobs(jobs.Lane(lane)), api+"CONSUMER.INFO."+streams.Jobs+"."+lane, "$JS.ACK."+streams.Jobs+"."+lane+".>")
		p.Subscribe = append(p.Subscribe, topology.Bell(jobs.Lane(lane)))
		if len(o.Lanes) > 0 {
			read = append(read, topology.JobBodies(jobs.Lane(lane)))
		}
	}
	p.Publish = append(p.Publish, values(own, read)...)
	return p
}

// workersOf is the name of all workers of a group.
func workersOf(group string) string {
	return jobs.WorkerName(group, everywhere)
}

// submitter may write the first record of a run, and cancellations.
func submitter(o Options) Permissions {
	var p Permissions
	for _, kind := range []string{topology.Spec, topology.Cancel} {
		p.Publish = append(p.Publish, topology.Run(everywhere, kind))
	}
	for _, s := range streams.All() {
		p.Publish = append(p.Publish, api+"STREAM.INFO."+s.Name)
	}
	p.Publish = append(p.Publish, get(streams.Runs, topology.Records(everywhere)), get("KV_"+streams.Bucket("leases"), entry("leases", ">")))
	own := []string{topology.SpecBodies, cmp.Or(o.Namespace, jobs.DefaultNamespace)}
	p.Publish = append(p.Publish, values(own, slices.Concat(own, o.From, []string{jobs.ValuesNamespace}))...)
	return p
}

// values returns the permissions to write to some namespaces of the store of values,
// and to read some.
func values(write, read []string) (subjects []string) {
	for _, namespace := range write {
		for _, kind := range []string{"M", "C"} {
			subjects = append(subjects, topology.Value(kind, namespace))
		}
	}
	for _, namespace := range read {
		subjects = append(subjects, get(streams.Blobs, topology.Value(everywhere, namespace)))
	}
	return subjects
}

func entry(bucket, key string) string { return "$KV." + streams.Bucket(bucket) + "." + key }

func get(stream, subject string) string { return api + "DIRECT.GET." + stream + "." + subject }

func orAll(lanes []string) []string {
	if len(lanes) == 0 {
		return []string{everywhere}
	}
	return lanes
}
