package orchestrator

import "sync"

// maxTasks is how many requests to NATS a loop makes at the same time.
// Publications do not count: package broker bounds them.
const maxTasks = 64

// tasks runs functions on at most maxTasks goroutines. Further functions wait in
// order. A run has at most a few tasks per module. Only the loop calls add.
type tasks struct {
	guard func(func()) // runs a task, and contains its panic

	mu      sync.Mutex // guards the fields below, except all
	running int
	waiting []func()
	all     sync.WaitGroup
}

func newTasks(guard func(func())) *tasks { return &tasks{guard: guard} }

func (t *tasks) add(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running == maxTasks {
		t.waiting = append(t.waiting, f)
		return
	}
	t.running++
	t.all.Go(func() { t.work(f) })
}

// work runs f and then the tasks that wait.
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

// wait returns when all tasks have run. The context of the tasks has ended
// before, so they do not block.
func (t *tasks) wait() { t.all.Wait() }
