package jobs

// Lock is a key, a limit or a flight that all runs on a NATS share.
type Lock struct {
	Name   string
	Limit  bool // a limit
	Flight bool // the right to produce the result of a fingerprint; Name is its key in the cache
	Max    int  // how many may hold it, as the run that asks says: 1 of a key or a flight
}

// Flight is the flight of a fingerprint in a namespace.
func Flight(namespace, fingerprint string) Lock {
	return Lock{Name: namespace + "." + fingerprint, Flight: true, Max: 1}
}

// LockEntry is what the bucket of locks says of one of them.
type LockEntry struct {
	Name    string   `msgpack:"name"` // as pipelines spell it: the entry's own key is a hash
	Limit   bool     `msgpack:"limit,omitempty"`
	Holders []Holder `msgpack:"holders"`
}

// Holder is an attempt that holds a lock, or is about to be granted it.
type Holder struct {
	Run     RunID    `msgpack:"run"`
	Module  ModuleID `msgpack:"token"`
	Attempt Attempt  `msgpack:"attempt"`
	Epoch   uint64   `msgpack:"epoch"` // of the orchestrator that took it: an entry of an older one is not the same as a newer one's
}

// Is reports whether both are one attempt.
func (h Holder) Is(o Holder) bool {
	return h.Run == o.Run && h.Module == o.Module && h.Attempt == o.Attempt
}
