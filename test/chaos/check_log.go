package main

import (
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/chaos/watch"
)

// verifyLog checks a run's log: each attempt has one outcome, attempts follow one
// another, claims match their attempts, needs come first, and one end is the last record.
func (e *evidence) verifyLog(s submitted, say func(string, ...any)) {
	log := e.logs[s.plan.run]
	if len(log) == 0 {
		say("%s: has no log", s.plan.run)
		return
	}
	cells := map[string]*cell{}
	var epoch, end uint64
	for _, entry := range log {
		rec := entry.Record
		switch {
		case end > 0 && (rec.Claim != nil || rec.Outcome != nil || rec.End != nil || rec.Grant != nil):
			say("%s: record %d is after its end", s.plan.run, entry.Sequence)
		case rec.End != nil:
			end = entry.Sequence
		case rec.Takeover != nil:
			if rec.Takeover.Epoch <= epoch {
				say("%s: takeover by %s has epoch %d after %d", s.plan.run, rec.Takeover.Orchestrator, rec.Takeover.Epoch, epoch)
			}
			epoch = rec.Takeover.Epoch
		case entry.Cell != "":
			c := cells[string(entry.Cell)]
			if c == nil {
				c = &cell{}
				cells[string(entry.Cell)] = c
			}
			if fault := c.take(entry); fault != "" {
				say("%s: cell of %s, record %d: %s", s.plan.run, entry.Cell, entry.Sequence, fault)
			}
		}
	}
	if end == 0 {
		say("%s: has not ended", s.plan.run)
	}
	e.verifyCells(s, cells, say)
}

// cell is the fold of the records of one module.
type cell struct {
	first     uint64 // sequence of the first claim or outcome of an attempt
	last      uint64 // of the newest outcome
	attempt   jobs.Attempt
	open      bool // claimed, without an outcome
	claims    map[jobs.Attempt]uint64
	succeeded bool
}

// take adds a record and returns the fault in it.
func (c *cell) take(entry jobs.Entry) string {
	if c.claims == nil {
		c.claims = map[jobs.Attempt]uint64{}
	}
	attempt, o := jobs.Attempt(0), entry.Record.Outcome
	if o != nil {
		attempt, c.last = o.Attempt, entry.Sequence
	} else {
		attempt = entry.Record.Claim.Attempt
	}
	if c.first == 0 && attempt > 0 {
		c.first = entry.Sequence
	}
	switch {
	case c.succeeded:
		return "it had succeeded"
	case attempt == 0: // a module ended without an attempt
		return ""
	case c.open && (o == nil || attempt != c.attempt):
		return "the attempt before has no outcome"
	case !c.open && attempt != c.attempt+1:
		return "its attempt does not follow the one before"
	}
	c.attempt, c.open = attempt, o == nil
	if o == nil {
		c.claims[attempt] = entry.Sequence
		return ""
	}
	c.succeeded = o.Status == report.AttemptSucceeded
	return ""
}

// verifyCells checks the order between modules, and the tokens of their commands.
func (e *evidence) verifyCells(s submitted, cells map[string]*cell, say func(string, ...any)) {
	for i := range s.plan.modules {
		m := &s.plan.modules[i]
		c := cells[m.name]
		if c == nil {
			continue
		}
		if c.open {
			say("%s: attempt %d of %s is open", s.plan.run, c.attempt, m.name)
		}
		for _, n := range m.needs {
			if before := cells[n.name]; before != nil && c.first > 0 && before.last > c.first {
				say("%s: %s began before %s, which it needs, had ended", s.plan.run, m.name, n.name)
			}
		}
		for k := range e.execs {
			if x := &e.execs[k]; x.Run == s.plan.run && x.Module == m.name && x.Token > 0 && !e.lost(x) {
				checkToken(x, c, say)
			}
		}
	}
}

// epochs is the divisor of a fencing token. The remainder is the sequence of the claim to
// which the token belongs.
const epochs = 1 << 44

// checkToken compares a command's fencing token with the claim that it belongs to.
func checkToken(x *watch.Exec, c *cell, say func(string, ...any)) {
	if claim := c.claims[jobs.Attempt(x.Attempt)]; claim != x.Token%epochs {
		say("%s: the claim of its attempt is %d", describe(x), claim)
	}
}
