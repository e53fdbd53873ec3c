package simulate

import (
	"math/rand/v2"
	"time"
)

// climate sets how the runs, the workers and the network of a world behave. Some
// faults need several rare events together. With one climate these would meet too
// rarely. So there are several kinds of worlds, each with many events of few kinds.
type climate struct {
	// Maxima, of the world, each run or each worker.
	runs, modules, orchestrators, workers, slots int

	// Chances.
	mixed      float64 // workers with another operating system
	foreign    float64 // modules that require that system
	needs      float64 // of a module for each module before it
	optional   float64 // needs that are optional
	conditions float64 // modules that have a condition
	reads      float64 // modules that read the result of a need, of each need
	lists      float64 // modules that return a list
	families   float64 // modules that are a family, for each need that returns a list
	large      float64 // results that are stored by reference
	damaged    float64 // stored results that cannot be read
	keys       float64 // modules that have keys
	failing    float64 // executions that fail
	quick      float64 // executions that end soon
	long       float64 // starts that take long
	faults     float64 // worlds with faults
	registry   float64 // faults in which the registry does not answer
	losses     float64 // restarts of the server in which it loses the last part of its streams
	breakdowns float64 // faults in which a worker's machine breaks
	restarts   float64 // faults that are a restart of the server, besides the usual ones
	aftermath  float64 // losses that other faults follow
	stores     float64 // losses of the whole store
	noise      float64 // worlds in which a stranger writes stray records into cells
	handovers  float64 // faults in which an orchestrator stops

	net     weather
	delay   time.Duration // minimum for a retry
	trouble time.Duration // latest end of the faults, in most worlds
	lingers bool          // the world continues until the faults end, after its runs have ended
	shared  bool          // runs share keys and limits
	apart   bool          // each orchestrator serves only some of the runs
	caching float64       // modules that have a cache
	denied  bool          // no orchestrator may use the bucket of cached results
	desert  bool          // one run's orchestrator dies for ever
	orderly bool          // without faults, so that slots go to modules in the order of priorities
}

func (w *world) drawClimate() climate {
	c := climate{
		runs: 1 + w.rand.IntN(2), modules: 9, orchestrators: 1 + w.rand.IntN(3), workers: 1 + w.rand.IntN(4), slots: 3,
		mixed: 0.3, foreign: 0.1, needs: 0.2, optional: 0.3, conditions: 0.15, keys: 0.35,
		reads: 0.3, lists: 0.15, families: 0.7, large: 0.4, damaged: 0.02,
		failing: 0.15, quick: 0.3, faults: 0.9, registry: 0.04, handovers: 0.06, losses: 0.5, breakdowns: 0.04, aftermath: 0.3, stores: 0.06, noise: 0.3,
		delay: 10 * time.Millisecond, trouble: 25 * time.Second, lingers: w.chance(0.3),
	}
	if w.chance(0.8) {
		c.net = weather{
			loss: w.rand.Float64() * 0.04, twice: w.rand.Float64() * 0.04,
			late: w.rand.Float64() * 0.03, longest: w.between(50*time.Millisecond, 4*time.Second),
		}
	}
	switch n := w.rand.IntN(100); {
	case n < 18:
		w.crowded(&c)
	case n < 38:
		w.quiet(&c)
		return c
	case n < 55:
		w.sluggish(&c)
	case n < 70:
		w.forgetful(&c)
	case n < 78:
		w.orderly(&c)
		return c
	}
	if w.chance(0.35) {
		c.shared, c.apart, c.desert = true, w.chance(0.6), w.chance(0.5)
		c.runs = 2 + w.rand.IntN(2)
	}
	return c
}

func one[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// crowded sets a world with few slots for many modules that fail. Orchestrators
// stop and start often, so that jobs in the queue outlive their orchestrators.
func (w *world) crowded(c *climate) {
	c.runs, c.orchestrators, c.workers, c.slots = 2+w.rand.IntN(2), 3, 1+w.rand.IntN(2), 1
	c.mixed, c.foreign, c.needs, c.failing, c.quick = 0, 0, 0.1, 0.5, one(w.rand, 0.3, 0.8)
	c.delay, c.handovers = 2*time.Second, 0.5
	c.net.late, c.net.longest = 0.3, w.between(100*time.Millisecond, 1500*time.Millisecond)
}

// quiet sets a world in which no worker serves some of the modules that become
// ready. Few events happen, so that few events cause another decision.
func (w *world) quiet(c *climate) {
	c.runs, c.orchestrators, c.modules, c.workers = 1, 1, 3, 1+w.rand.IntN(2)
	c.mixed, c.foreign, c.needs, c.optional, c.conditions = 0, 0.5, 0.7, 0.9, 0.7
	c.faults, c.trouble = 0.1, 5*time.Second
}

// orderly sets a world without faults, with more ready modules than slots.
func (w *world) orderly(c *climate) {
	c.runs, c.orchestrators, c.workers, c.slots = 1, 1, 1+w.rand.IntN(2), 2
	c.keys, c.foreign, c.conditions, c.needs, c.failing, c.faults, c.noise = 0.1, 0.3, 0, 0.15, 0, 0, 0
	c.reads, c.lists, c.large = 0, 0, 0
	c.net, c.orderly = weather{}, true
}

// forgetful sets a world in which the server often loses the last part of its
// streams, or all of them. Many modules have keys, and there is noise.
func (w *world) forgetful(c *climate) {
	c.keys, c.losses, c.restarts, c.noise, c.needs = 0.7, 1, one(w.rand, 0.1, 0.4), one(w.rand, 0, 1.0), 0.1
	c.failing, c.aftermath, c.stores, c.trouble = 0.3, 0.8, one(w.rand, 0, 0.4), w.between(5*time.Second, 25*time.Second)
}

// sluggish sets a world with slow answers and slow starts, so that many events
// happen between a claim and the start.
func (w *world) sluggish(c *climate) {
	c.keys, c.long, c.registry = 0.7, 0.3, 0.5
	c.net.late, c.net.longest = 0.3, w.between(500*time.Millisecond, 1500*time.Millisecond)
}
