package jobs

// Lock is a key, or a limit, that all runs on a NATS share.
type Lock struct {
	Name  string
	Limit bool // a limit; else a key
	Max   int  // how many may hold it, as the run that asks says: 1 of a key
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
