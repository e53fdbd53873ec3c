package topology

import (
	"strings"

	"github.com/modpipe/modpipe/jobs"
)

// WorkerKey is the key of a worker in the registry, and its two tokens in subjects:
// <group>.<name>. worker is a full name (jobs.WorkerName).
func WorkerKey(worker string) string {
	if group, name, ok := strings.Cut(worker, "."); ok {
		return group + "." + name
	}
	return jobs.DefaultGroup + "." + worker
}

// ParseWorkerKey returns the full name of the worker of a key. ok = the key is one.
func ParseWorkerKey(key string) (worker string, ok bool) {
	group, name, found := strings.Cut(key, ".")
	worker = jobs.WorkerName(group, name)
	return worker, found && jobs.ValidWorker(worker) && WorkerKey(worker) == key
}

// WorkerControl is the subject of messages to a worker.
func WorkerControl(worker string) string { return "mp.ctl.worker." + WorkerKey(worker) }

// WorkerSecret is the subject on which a worker receives the secrets of its attempts.
func WorkerSecret(worker string) string { return "mp.secret." + WorkerKey(worker) }
