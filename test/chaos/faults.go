package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/test/faultproxy"
)

// fault is one fault that is injected and later ended.
type fault struct {
	what string
	span time.Duration // 0 = it ends immediately
	act  func()
	end  func()
}

// span draws how long a fault lasts. Most faults are short compared with the time after
// which a silent worker is lost (3 s), but many are long.
func span(rng *rand.Rand) time.Duration {
	if rng.IntN(3) == 0 {
		return 3*time.Second + time.Duration(rng.IntN(3000))*time.Millisecond
	}
	return 300*time.Millisecond + time.Duration(rng.IntN(2200))*time.Millisecond
}

// programFault draws a fault of a worker or an orchestrator.
func (w *world) programFault(rng *rand.Rand, p *program) fault {
	switch rng.IntN(10) {
	case 0, 1, 2:
		return fault{what: "kill -9", span: time.Duration(rng.IntN(2000)) * time.Millisecond, act: p.kill, end: p.up}
	case 3, 4:
		return w.pauseFault(p, span(rng))
	case 5:
		return fault{what: "TERM", act: p.tell}
	}
	return networkFault(rng, p)
}

// pauseFault stops a program, as a suspended machine does.
func (w *world) pauseFault(p *program, span time.Duration) fault {
	running, name := p.current()
	begun := -1
	return fault{
		what: "SIGSTOP", span: span,
		act: func() {
			begun = w.pauseBegins(name)
			running.signal(syscall.SIGSTOP)
		},
		end: func() {
			running.signal(syscall.SIGCONT)
			w.pauseEnds(name, begun)
		},
	}
}

func networkFault(rng *rand.Rand, p *program) fault {
	bad := func(what string, f faultproxy.Fault) fault {
		return fault{what: what, span: span(rng), act: func() { p.faulty(f) }, end: func() { p.faulty(faultproxy.Fault{}) }}
	}
	switch rng.IntN(10) {
	case 9:
		rate := []int{125_000, 250_000, 1_250_000}[rng.IntN(3)]
		return bad(fmt.Sprintf("a link of %d kbit/s", rate*8/1000), faultproxy.Fault{Rate: rate, Latency: 20 * time.Millisecond})
	case 0:
		latency := time.Duration(20+rng.IntN(230)) * time.Millisecond
		return bad(fmt.Sprintf("latency %v", latency), faultproxy.Fault{Latency: latency})
	case 1:
		return fault{what: "connections reset", act: p.reset}
	case 2:
		return bad("black hole, held back", faultproxy.Fault{Hold: faultproxy.Both})
	case 3:
		return bad("requests held back", faultproxy.Fault{Hold: faultproxy.Requests})
	case 4:
		return bad("replies held back", faultproxy.Fault{Hold: faultproxy.Replies})
	case 5:
		return bad("black hole", faultproxy.Fault{Lose: faultproxy.Both})
	case 6:
		return bad("requests lost", faultproxy.Fault{Lose: faultproxy.Requests})
	case 7:
		return bad("replies lost", faultproxy.Fault{Lose: faultproxy.Replies})
	}
	f := bad("reset and refused", faultproxy.Fault{Refuse: true})
	act := f.act
	f.act = func() {
		act()
		p.reset()
	}
	return f
}

// tell sends a program the signal to end, as a service manager does.
func (p *program) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = true
	p.running.signal(syscall.SIGTERM)
}

// nodeFault draws a fault of a NATS node. There is one at a time: its end waits until all
// nodes are current, as an operator of a cluster does.
func (w *world) nodeFault(ctx context.Context, rng *rand.Rand, n *node) fault {
	restart := func() {
		if err := n.up(); err != nil {
			w.fail("start NATS node %s again: %v", n.name, err)
		}
		if err := awaitHealthy(ctx, w.nodes); err != nil && ctx.Err() == nil {
			w.fail("after a fault of %s: %v", n.name, err)
		}
	}
	down := time.Duration(rng.IntN(2500)) * time.Millisecond
	switch rng.IntN(4) {
	case 0, 1:
		return fault{what: "kill -9", span: down, act: n.kill, end: restart}
	case 2:
		return fault{what: "TERM", span: down, act: func() { w.stopNode(ctx, n) }, end: restart}
	}
	return fault{
		what: "SIGSTOP", span: span(rng), act: func() { n.signal(syscall.SIGSTOP) },
		end: func() {
			n.signal(syscall.SIGCONT)
			if err := awaitHealthy(ctx, w.nodes); err != nil && ctx.Err() == nil {
				w.fail("after a fault of %s: %v", n.name, err)
			}
		},
	}
}

func (w *world) stopNode(ctx context.Context, n *node) {
	if err := n.stop(context.WithoutCancel(ctx), stopping); err != nil {
		w.fail("%v", err)
	}
}

// rage injects faults until ctx ends. All have ended when it returns.
func (w *world) rage(ctx context.Context, rng *rand.Rand) {
	var faults sync.WaitGroup
	defer faults.Wait()
	busy := map[any]bool{}
	var mu sync.Mutex // guards busy
	for {
		if pause.For(ctx, 200*time.Millisecond+time.Duration(rng.IntN(1800))*time.Millisecond) != nil {
			return
		}
		target, name, f := w.draw(ctx, rng)
		mu.Lock()
		taken := busy[target]
		busy[target] = true
		mu.Unlock()
		if taken {
			continue
		}
		w.faults++
		w.say("%s: %s%s", name, f.what, spanText(f.span))
		faults.Go(func() {
			f.act()
			if f.end != nil {
				_ = pause.For(ctx, f.span) // ended early when the time for faults is over
				f.end()
			}
			mu.Lock()
			defer mu.Unlock()
			delete(busy, target)
		})
	}
}

func spanText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf(" for %v", d)
}

// draw draws a fault and its target. Nodes of NATS share one turn.
func (w *world) draw(ctx context.Context, rng *rand.Rand) (target any, name string, f fault) {
	if rng.IntN(16) == 0 {
		return "nats", "nats", w.loginFault(rng)
	}
	if w.forgets && rng.IntN(10) == 0 {
		return "nats", "nats " + w.nodes[0].name, w.lossFault(ctx, rng, w.nodes[0])
	}
	if rng.IntN(7) == 0 {
		n := w.nodes[rng.IntN(len(w.nodes))]
		return "nats", "nats " + n.name, w.nodeFault(ctx, rng, n)
	}
	p := w.programs[rng.IntN(len(w.programs))]
	_, current := p.current()
	return p, p.role + " " + current, w.programFault(rng, p)
}
