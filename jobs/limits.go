package jobs

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/modpipe/modpipe/internal/wire"
)

// Largest encodings that are written and decoded, in bytes, after
// decompression. Outputs have their own limit (MaxOutputs).
const (
	// MaxMessage is that of a job, and of the records that submitters and
	// orchestrators write: the specification, grants, expansions.
	MaxMessage = 64 << 20
	// MaxSmall is that of everything else: a chunk of output, a heartbeat, a
	// lease, a lock, a lane, durations, a control message, a claim, an outcome,
	// a cancellation, an end.
	MaxSmall = 1 << 20
)

const (
	// elementShare is how many times its limit the elements of a message may
	// occupy when they are decoded.
	elementShare = 4
	// maxDepth is how deep the arrays and maps of a message may nest: a pipeline
	// with its modules' parameters needs about ten.
	maxDepth = 32
)

// Limit is the largest encoding of messages of this kind, in bytes; of records
// that of the longest.
func Limit[M Message]() int {
	var m M
	switch any(m).(type) {
	case Job, Record:
		return MaxMessage
	}
	return MaxSmall
}

// limitOf is the largest encoding of this message.
func limitOf[M Message](m *M) int {
	if r, ok := any(m).(*Record); ok && (r.Claim != nil || r.Outcome != nil || r.Cancel != nil || r.End != nil) {
		return MaxSmall
	}
	return Limit[M]()
}

// shapes are those of messages. A specification travels as another type.
var shapes = wire.Shapes{Tag: "msgpack", Instead: map[reflect.Type]reflect.Type{
	reflect.TypeFor[Spec](): reflect.TypeFor[sentSpec](), reflect.TypeFor[Value](): reflect.TypeFor[valueShape](),
}}

// check holds that data is well-formed, and that what it becomes has a bounded
// size, before anything is allocated for it.
func check[T any](data []byte, most int) error {
	err := wire.Check(data, shapes.Of(reflect.TypeFor[T]()), wire.Bounds{Depth: maxDepth, Memory: elementShare * int64(most)})
	switch {
	case errors.Is(err, wire.ErrTooCostly):
		return fmt.Errorf("%w: %w: %w: its elements would take more than %d MiB", ErrMalformed, ErrTooLarge, err, elementShare*most>>20)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}
