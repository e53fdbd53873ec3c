package puller

import (
	"slices"
	"testing"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// ringing returns a puller with these lanes, all known to be empty.
func ringing(names ...jobs.Lane) *Puller {
	p := New(nil, nil, 8, nil)
	for _, name := range names {
		p.turn = append(p.turn, &lane{name: name, slots: 1, asked: epoch})
	}
	return p
}

var epoch = time.Unix(1000, 0)

func (p *Puller) lane(name jobs.Lane) *lane {
	i := slices.IndexFunc(p.turn, func(l *lane) bool { return l.name == name })
	return p.turn[i]
}

// groups takes the bells and returns the lanes in the order of the requests.
func (p *Puller) groups(now time.Time) [][]jobs.Lane {
	p.takeBells(now)
	var all [][]jobs.Lane
	for _, g := range p.wanting(now) {
		var names []jobs.Lane
		for _, l := range g {
			names = append(names, l.name)
		}
		all = append(all, names)
	}
	return all
}

func expectGroups(t *testing.T, got, want [][]jobs.Lane) {
	t.Helper()
	if !slices.EqualFunc(got, want, func(a, b []jobs.Lane) bool { return slices.Equal(a, b) }) {
		t.Errorf("the lanes are asked in the order %v, want %v", got, want)
	}
}

func TestPullerRequestsFromTheMoreUrgentLaneFirst(t *testing.T) {
	p := ringing("low", "urgent", "quiet")
	p.lane("low").chime.Ring(1, jobs.Rank{Priority: pipeline.Low, Slots: 8})
	p.lane("urgent").chime.Ring(2, jobs.Rank{Priority: pipeline.Critical, Slots: 8})
	p.lane("quiet").want = true
	expectGroups(t, p.groups(epoch), [][]jobs.Lane{{"urgent"}, {"low"}, {"quiet"}})
}

func TestPullerRequestsFromTheOlderOfEqualLanesFirst(t *testing.T) {
	p := ringing("a", "b")
	p.lane("a").chime.Ring(8, jobs.Rank{Slots: 8})
	p.lane("b").chime.Ring(7, jobs.Rank{Slots: 8})
	expectGroups(t, p.groups(epoch), [][]jobs.Lane{{"b", "a"}})
}

func TestPullerForgetsTheRankOfDeliveredJobs(t *testing.T) {
	p := ringing("a", "b")
	a := p.lane("a")
	a.chime.Ring(1, jobs.Rank{Priority: pipeline.Critical, Slots: 8})
	a.chime.Ring(2, jobs.Rank{Priority: pipeline.Low, Slots: 8})
	p.lane("b").chime.Ring(3, jobs.Rank{Slots: 8})
	expectGroups(t, p.groups(epoch), [][]jobs.Lane{{"a"}, {"b"}})
	a.more = true
	a.delivered(1, jobs.Rank{Priority: pipeline.Critical, Slots: 8}, epoch)
	expectGroups(t, p.groups(epoch), [][]jobs.Lane{{"b"}, {"a"}})
}

func TestPullerYieldsToWorkersWithoutAScarcerLane(t *testing.T) {
	p := ringing("any", "gpu")
	p.lane("gpu").chime.Ring(1, jobs.Rank{Slots: 2})
	expectGroups(t, p.groups(epoch), [][]jobs.Lane{{"gpu"}})
	p.lane("any").chime.Ring(2, jobs.Rank{Slots: 8})
	expectGroups(t, p.groups(epoch), [][]jobs.Lane{{"gpu"}})
	expectGroups(t, p.groups(epoch.Add(yieldFor)), [][]jobs.Lane{{"gpu"}, {"any"}})
}

func TestPullerRequestsFromALaneWhoseBellWasLost(t *testing.T) {
	p := ringing("busy", "deaf")
	p.lane("busy").more = true
	p.lane("deaf").want = true
	expectGroups(t, p.groups(epoch), [][]jobs.Lane{{"busy"}, {"deaf"}})
	p.lane("busy").asked = epoch.Add(time.Hour)
	expectGroups(t, p.groups(epoch.Add(time.Hour)), [][]jobs.Lane{{"deaf", "busy"}})
}
