package orchestrator

import "sync"

// atOnce is how many requests to NATS a loop has under way, apart from
// publications, which package broker bounds.
const atOnce = 64

// tasks runs functions on at most atOnce goroutines. What does not fit waits
// in order; a run has at most a few tasks a module. Only the loop calls add.
type tasks struct {
	guard func(func()) // runs one, and sees to it that a panic in it ends nothing else

	mu      sync.Mutex // guards what follows
	running int
	waiting []func()
	all     sync.WaitGroup
}

func newTasks(guard func(func())) *tasks { return &tasks{guard: guard} }

func (t *tasks) add(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running == atOnce {
		t.waiting = append(t.waiting, f)
		return
	}
	t.running++
	t.all.Go(func() { t.work(f) })
}

// work runs f and then whatever waits.
func (t *tasks) work(f func()) {
	for f != nil {
		t.guard(f)
		f = t.next()
	}
}

func (t *tasks) next() func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		t.running--
		return nil
	}
	f := t.waiting[0]
	t.waiting = t.waiting[1:]
	return f
}

// wait returns when everything has run. Their context has ended.
func (t *tasks) wait() { t.all.Wait() }
