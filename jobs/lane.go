package jobs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/modpipe/modpipe/pipeline"
)

// Lane names a distinct set of requirements and slots: one token of a
// subject, one durable consumer. It can be read: "os_linux-tool_docker".
type Lane string

// LaneSet is what a lane requires, as the lanes' bucket holds it.
type LaneSet struct {
	Requires pipeline.Requirements `msgpack:"requires"`
	Slots    int                   `msgpack:"slots"`
}

// maxLane is how long a lane may be that is spelled.
const maxLane = 64

// LaneOf is the lane of modules with these requirements: "any" without one,
// a hash ("h_…") when its words would be too long or not fit a subject.
func LaneOf(r pipeline.Requirements, slots int) Lane {
	var words []string
	add := func(kind, value string) { words = append(words, kind+"_"+value) }
	if r.OS != "" {
		add("os", r.OS)
	}
	if r.Arch != "" {
		add("arch", r.Arch)
	}
	for _, t := range r.Tools {
		if t.Min != "" {
			add("tool", t.Name+">="+t.Min)
		} else {
			add("tool", t.Name)
		}
	}
	for _, t := range r.Tags {
		add("tag", t)
	}
	for _, l := range r.Labels {
		add("label", l.Key+"="+l.Value)
	}
	for _, s := range r.Secrets {
		add("secret", s)
	}
	for _, name := range r.Env {
		add("env", name)
	}
	if r.CPUs > 0 {
		add("cpus", fmt.Sprint(r.CPUs))
	}
	if r.Memory > 0 {
		add("memory", fmt.Sprint(r.Memory))
	}
	if p := r.Program; p != nil {
		add("program", p.Name+"_"+pipeline.Short(p.Build)+"_"+pipeline.Short(p.Graph))
	}
	if r.Repository != "" {
		sum := sha256.Sum256([]byte(r.Repository))
		add("repo", hex.EncodeToString(sum[:6]))
	}
	if slots > 1 {
		add("slots", fmt.Sprint(slots))
	}
	if len(words) == 0 {
		return "any"
	}
	if spelled(words) {
		return Lane(strings.Join(words, "-"))
	}
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return Lane("h_" + hex.EncodeToString(sum[:15]))
}

// spelled reports whether words, with dashes between them, can be part of a
// subject and be told apart again.
func spelled(words []string) bool {
	size := len(words) - 1
	for _, w := range words {
		size += len(w)
		for i := range len(w) {
			if c := w[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
				return false
			}
		}
	}
	return size <= maxLane
}
