package topology

import "testing"

// TestWorkerKeys: a full name and its key name the same worker, and what cannot be
// two tokens names none.
func TestWorkerKeys(t *testing.T) {
	t.Parallel()
	for worker, key := range map[string]string{"one": "default.one", "ci.one": "ci.one", "a-b.c_D": "a-b.c_D"} {
		got, ok := ParseWorkerKey(key)
		if WorkerKey(worker) != key || got != worker || !ok {
			t.Errorf("%s: %s, %s, %v", worker, WorkerKey(worker), got, ok)
		}
	}
	for _, key := range []string{"", "one", ".one", "ci.", "ci.*", "ci.one.two", "*.one", "ci.o ne", "ci.>"} {
		if worker, ok := ParseWorkerKey(key); ok {
			t.Errorf("%q is worker %q", key, worker)
		}
	}
	if got := WorkerSecret("ci.one"); got != "mp.secret.ci.one" {
		t.Error(got)
	}
}
