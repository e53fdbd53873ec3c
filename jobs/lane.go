package jobs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/modpipe/modpipe/pipeline"
)

// Lane names a distinct set of requirements and slots: one token of a
// subject, one durable consumer. It can be read: "os_linux-tool_docker".
type Lane string

// LaneSet is what a lane stands for, as the lanes' bucket holds it.
type LaneSet struct {
	Requires pipeline.Requirements `msgpack:"requires"`
	Slots    int                   `msgpack:"slots"`
}

var lanePattern = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

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
		add("label", l.Axis+"="+l.Value)
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
	if slots > 1 {
		add("slots", fmt.Sprint(slots))
	}
	if len(words) == 0 {
		return "any"
	}
	name := strings.Join(words, "-")
	if lanePattern.MatchString(name) && !strings.Contains(strings.Join(words, ""), "-") {
		return Lane(name)
	}
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return Lane("h_" + hex.EncodeToString(sum[:15]))
}
