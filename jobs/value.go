package jobs

import (
	"bytes"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/modpipe/modpipe/internal/wire"
)

// MaxOutputs is how many bytes the value of one attempt may have, encoded.
const MaxOutputs = wire.MaxResult

// Value is what an attempt leaves: the outputs that a command has set, or the
// result that a Go function has returned. The zero value is no outputs.
type Value struct {
	Kind   ValueKind
	Inline []byte // msgpack; nil = nothing, or kept by Ref
	Ref    Blob   // above the inline limit: where the value is in the object store
}

// ValueKind says what a Value is.
type ValueKind uint8

// The kinds of values.
const (
	OutputsValue ValueKind = iota // a map from names to texts
	ResultValue                   // whatever a Go function returns
)

// Blob refers to bytes in the object store.
type Blob struct {
	SHA256 string `msgpack:"sha256,omitempty"` // hex; empty = none
	Bytes  int64  `msgpack:"bytes,omitempty"`
}

// OutputsOf is the value of a command that has set these outputs: the same bytes
// for the same outputs, since their digest names them.
func OutputsOf(outputs map[string]string) Value {
	if len(outputs) == 0 {
		return Value{}
	}
	var buf bytes.Buffer
	buf.Grow(outputsSize(outputs))
	if err := encode(&buf, &outputs, true); err != nil {
		panic(fmt.Sprint("encode outputs: ", err)) // texts always encode
	}
	return Value{Inline: buf.Bytes()}
}

// ResultOf is the value of a Go function that has returned this, encoded.
func ResultOf(data []byte) Value { return Value{Kind: ResultValue, Inline: data} }

// ByRef reports whether the value has to be loaded before it can be read.
func (v Value) ByRef() bool { return v.Ref.SHA256 != "" }

// Size is how many bytes the value takes in the object store.
func (v Value) Size() int {
	if v.Kind == ResultValue {
		return len(v.Inline)
	}
	return len(v.Inline) + 1 // the version
}

// storedVersion is in front of stored outputs. It never changes: the digest of a
// value names it, and so is a part of fingerprints.
const storedVersion = withFiles

// Stored is the value as the object store holds it.
func (v Value) Stored() []byte {
	if v.Kind == ResultValue {
		return v.Inline
	}
	return append([]byte{storedVersion}, v.Inline...)
}

// Loaded is a value by reference with what the object store has for it.
// ErrNewer, ErrMalformed.
func (v Value) Loaded(stored []byte) (Value, error) {
	loaded := Value{Kind: v.Kind, Inline: stored}
	if v.Kind == ResultValue {
		return loaded, nil
	}
	if len(stored) > MaxOutputs {
		return Value{}, fmt.Errorf("decode outputs: %w: %d bytes, more than %d", ErrMalformed, len(stored), MaxOutputs)
	}
	var err error
	if loaded.Inline, err = body(stored); err != nil {
		return Value{}, fmt.Errorf("decode outputs: %w", err)
	}
	if err := check[map[string]string](loaded.Inline, MaxOutputs); err != nil {
		return Value{}, fmt.Errorf("decode outputs: %w", err)
	}
	return loaded, nil
}

// Outputs are the outputs, nil for a result and for a value by reference.
// ErrMalformed.
func (v Value) Outputs() (map[string]string, error) {
	if v.Kind != OutputsValue || v.Inline == nil {
		return nil, nil
	}
	var outputs map[string]string
	if err := decode(v.Inline, &outputs, MaxOutputs); err != nil {
		return nil, fmt.Errorf("decode outputs: %w", err)
	}
	return outputs, nil
}

// Result is what JSON would make of a result, nil for outputs and for a value by
// reference. ErrMalformed.
func (v Value) Result() (any, error) {
	if v.Kind != ResultValue || v.ByRef() {
		return nil, nil
	}
	if len(v.Inline) > MaxOutputs {
		return nil, fmt.Errorf("decode a result: %w: %d bytes, more than %d", ErrMalformed, len(v.Inline), MaxOutputs)
	}
	result, err := wire.Plain(v.Inline)
	if err != nil {
		return nil, fmt.Errorf("decode a result: %w: %w", ErrMalformed, err)
	}
	return result, nil
}

// sentValue is a Value as it travels.
type sentValue struct {
	Outputs msgpack.RawMessage `msgpack:"values,omitempty"`
	Ref     Blob               `msgpack:"blob,omitempty"`
	Typed   bool               `msgpack:"typed,omitempty"`  // a result
	Result  []byte             `msgpack:"result,omitempty"` // msgpack of the value
}

// emptyMap is msgpack for a map without entries.
const emptyMap = 0x80

// valueShape is sentValue as it is checked before it is decoded.
type valueShape struct {
	Outputs map[string]string `msgpack:"values,omitempty"`
	Ref     Blob              `msgpack:"blob,omitempty"`
	Typed   bool              `msgpack:"typed,omitempty"`
	Result  []byte            `msgpack:"result,omitempty"`
}

var (
	_ msgpack.CustomEncoder = Value{}
	_ msgpack.CustomDecoder = (*Value)(nil)
)

// EncodeMsgpack writes the value in the fields of its kind. A job may have
// thousands of needs, and most of them leave nothing.
func (v Value) EncodeMsgpack(enc *msgpack.Encoder) error {
	if v.Kind == OutputsValue && v.Inline == nil && v.Ref == (Blob{}) {
		return enc.EncodeMapLen(0)
	}
	sent := sentValue{Ref: v.Ref, Typed: v.Kind == ResultValue}
	if sent.Typed {
		sent.Result = v.Inline
	} else {
		sent.Outputs = v.Inline
	}
	return enc.Encode(&sent)
}

// DecodeMsgpack is the inverse.
func (v *Value) DecodeMsgpack(dec *msgpack.Decoder) error {
	if code, err := dec.PeekCode(); err == nil && code == emptyMap {
		*v = Value{}
		_, err = dec.DecodeMapLen()
		return err
	}
	var sent sentValue
	if err := dec.Decode(&sent); err != nil {
		return err
	}
	*v = Value{Inline: sent.Outputs, Ref: sent.Ref}
	if sent.Typed {
		v.Kind, v.Inline = ResultValue, sent.Result
	} else if len(sent.Outputs) == 1 { // nil, or no outputs
		v.Inline = nil
	}
	return nil
}

func outputsSize(outputs map[string]string) int {
	n := 8
	for k, v := range outputs {
		n += len(k) + len(v) + 10
	}
	return n
}
