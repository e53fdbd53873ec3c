package jetstream

import "sync"

// queue runs functions one after another, on a goroutine that lives while there
// are any. Its callers limit its length.
type queue struct {
	mu      sync.Mutex
	todo    []func()
	running bool
}

func (q *queue) push(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.todo = append(q.todo, f)
	if !q.running {
		q.running = true
		go q.run()
	}
}

func (q *queue) run() {
	for {
		q.mu.Lock()
		todo := q.todo
		q.todo = nil
		if len(todo) == 0 {
			q.running = false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		for _, f := range todo {
			f()
		}
	}
}
