package jobs

// Question is what a worker asks the orchestrator of a run about an attempt
// when the module's cell alone does not say whose the attempt is. It goes over
// core NATS and is repeated, with a new id each time, until it is answered.
type Question struct {
	Worker   string   `msgpack:"worker"`
	Module   ModuleID `msgpack:"token"`
	Attempt  Attempt  `msgpack:"attempt"`
	Nonce    string   `msgpack:"nonce"`    // of the delivery
	Sequence uint64   `msgpack:"sequence"` // of the record that it has read last in the cell; 0 = none
	ID       string   `msgpack:"id"`       // new for every question
	// Received: it asks nothing, and confirms that the secrets of the attempt have
	// arrived. It is signed with the key of the attempt.
	Received bool `msgpack:"received,omitempty"`
}

// Standing is what the log says of an attempt, for the delivery that asks.
type Standing string

// The standings.
const (
	StandsClosed Standing = "closed" // it has ended, is not in the log, or is not granted: acknowledge and forget
	StandsYours  Standing = "yours"  // the delivery that asks has claimed it
	StandsTaken  Standing = "taken"  // another delivery has claimed it
	StandsOpen   Standing = "open"   // it has no claim
)

// Answer answers a question, on the control subject of the worker.
type Answer struct {
	ID    string   `msgpack:"id"` // of the question
	State Standing `msgpack:"state"`
	Epoch uint64   `msgpack:"epoch"`           // of the orchestrator that answers
	Claim uint64   `msgpack:"claim,omitempty"` // sequence of the claim; with StandsYours
	Last  uint64   `msgpack:"last,omitempty"`  // last sequence of the cell, whatever that record is: the next write expects it
}

// Probe asks a worker whether it still runs an attempt that it has claimed,
// since its heartbeats do not say so. A worker that does not ends the attempt
// as lost, expecting the sequence.
type Probe struct {
	Run         RunID    `msgpack:"run"`
	Module      ModuleID `msgpack:"token"`
	Attempt     Attempt  `msgpack:"attempt"`
	Incarnation string   `msgpack:"incarnation"` // of the worker
	Nonce       string   `msgpack:"nonce"`       // of the delivery
	Sequence    uint64   `msgpack:"sequence"`    // last of the cell, as the orchestrator has folded it
	// Key is the key of the attempt, sealed for the worker on its way. A worker that
	// has forgotten the attempt has forgotten its key, too.
	Key []byte `msgpack:"key,omitempty"`
}

// epochPlace is where the epoch begins in a fencing token. Sequences below it
// suffice for 17 million million records.
const epochPlace = 44

// MostEpoch is the largest epoch of which a fencing token can be made: a
// token has 64 bits.
const MostEpoch = 1<<(64-epochPlace) - 1

// FencingToken is the token of a claim under the epoch of the job or answer
// that led to it: epoch × 2^44 + sequence. A server that loses the last part of
// its log gives a sequence out again, but never under the same epoch.
func FencingToken(epoch, claim uint64) uint64 {
	return min(epoch, MostEpoch)<<epochPlace + claim
}
