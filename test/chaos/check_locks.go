package main

import (
	"maps"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/modpipe/modpipe/test/chaos/watch"
)

// The history of every lock must be that of a lock. So there must be an order of its
// events, each at one moment between its request and its observed end. In that order, a
// holder starts only when there is room, and continues only while it holds the lock.
//
// A holder whose worker was paused may lose its lock at any moment after that. From then
// on the fence, if there is one, must refuse the holder. A holder whose worker was never
// paused never loses its lock: a refusal of such a holder is a fault.

type lockStep int

const (
	acquires lockStep = iota
	goesOn
	isRefused
	isDeprived
	releases
)

// lockInput is one step of one holder.
type lockInput struct {
	step   lockStep
	exec   int
	token  uint64
	lock   watch.Lock
	worker string
}

// lockState is immutable.
type lockState struct {
	holders  map[int]int // execution → weight
	deprived map[int]bool
	highest  uint64
}

func lockModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return lockState{} },
		Step: func(state, input, _ any) (bool, any) {
			s, ok := state.(lockState).after(input.(lockInput))
			return ok, s
		},
		Equal: func(a, b any) bool {
			x, y := a.(lockState), b.(lockState)
			return x.highest == y.highest && maps.Equal(x.holders, y.holders) && maps.Equal(x.deprived, y.deprived)
		},
	}
}

// after returns the state after a step, and whether a lock allows the step.
func (s lockState) after(in lockInput) (lockState, bool) {
	_, holds := s.holders[in.exec]
	next := lockState{maps.Clone(s.holders), maps.Clone(s.deprived), s.highest}
	switch in.step {
	case acquires:
		used := in.lock.Weight
		for _, w := range s.holders {
			used += w
		}
		if used > in.lock.Capacity || in.lock.Fenced() && in.token <= s.highest {
			return s, false
		}
		if next.holders == nil {
			next.holders = map[int]int{}
		}
		next.holders[in.exec] = in.lock.Weight
		next.highest = max(s.highest, in.token)
	case goesOn:
		return s, holds || !in.lock.Fenced() && s.deprived[in.exec]
	case isRefused:
		return s, s.deprived[in.exec]
	case isDeprived:
		delete(next.holders, in.exec)
		if next.deprived == nil {
			next.deprived = map[int]bool{}
		}
		next.deprived[in.exec] = true
	case releases:
		if !holds && !s.deprived[in.exec] {
			return s, false
		}
		delete(next.holders, in.exec)
		delete(next.deprived, in.exec)
	}
	return next, true
}

const lockPatience = 30 * time.Second

// verifyLocks checks the history of every lock.
func (e *evidence) verifyLocks(say func(string, ...any)) {
	histories := map[string][]porcupine.Operation{}
	for i := range e.execs {
		for _, l := range e.execs[i].Locks {
			histories[l.Name] = append(histories[l.Name], e.lockSteps(&e.execs[i], l)...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(histories)) {
		switch result := porcupine.CheckOperationsTimeout(lockModel(), histories[name], lockPatience); result {
		case porcupine.Ok:
		case porcupine.Unknown:
			say("lock %s: no order was found in time for its %d steps", name, len(histories[name]))
		case porcupine.Illegal:
			say("lock %s was held by too many, or after it was lost: no order of its %d steps is that of a lock%s", name, len(histories[name]), e.overlaps(name))
		}
	}
}

// lockSteps returns the steps of one execution on a lock.
func (e *evidence) lockSteps(x *watch.Exec, l watch.Lock) []porcupine.Operation {
	var steps []porcupine.Operation
	add := func(step lockStep, from, to time.Duration) {
		steps = append(steps, porcupine.Operation{
			ClientId: x.ID, Call: int64(from), Return: int64(to),
			Input: lockInput{step, x.ID, x.Token, l, x.Worker},
		})
	}
	gone := x.Gone
	if gone == 0 {
		gone = 1 << 62 // it is there
	}
	refusedAtOnce := false
	for _, r := range x.Refused {
		if r.Lock == l.Name {
			refusedAtOnce = refusedAtOnce || r.At == x.Start
			add(isRefused, r.At, r.At)
		}
	}
	if !refusedAtOnce {
		add(acquires, x.Start, x.Start)
		if x.Last > x.Start {
			add(goesOn, x.Last, x.Last)
		}
	}
	if since, ok := e.sorry(x.Worker, x.Start, gone); ok {
		add(isDeprived, since, gone)
	}
	switch {
	case x.Bye > 0:
		add(releases, x.Bye, x.Bye)
	default: // it ended at some moment after its last message
		add(releases, x.Last, gone)
	}
	return steps
}
