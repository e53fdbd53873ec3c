package jobs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// array is the msgpack of n times the same byte.
func array(n int, element byte) []byte {
	data := binary.BigEndian.AppendUint32([]byte{0xdd}, uint32(n)) //nolint:gosec // small
	return append(data, bytes.Repeat([]byte{element}, n)...)
}

// within is the msgpack of a value in maps of one key each.
func within(value []byte, keys ...string) []byte {
	for _, key := range slices.Backward(keys) {
		head := append([]byte{0x81, 0xa0 | byte(len(key))}, key...)
		value = append(head, value...)
	}
	return append([]byte{Version}, value...)
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestElementsAreChargedForTheMemoryThatTheyBecome(t *testing.T) {
	const small = 900 << 10
	type decoder = func([]byte) error
	decode := map[string]decoder{
		"chunk":   func(b []byte) error { _, err := Unmarshal[LogChunk](b); return err },
		"worker":  func(b []byte) error { _, err := Unmarshal[WorkerInfo](b); return err },
		"lock":    func(b []byte) error { _, err := Unmarshal[LockEntry](b); return err },
		"lane":    func(b []byte) error { _, err := Unmarshal[LaneSet](b); return err },
		"lease":   func(b []byte) error { _, err := Unmarshal[RunLease](b); return err },
		"control": func(b []byte) error { _, err := Unmarshal[Control](b); return err },
		"cell":    func(b []byte) error { _, err := UnmarshalRecord(b, MaxSmall); return err },
		"record":  func(b []byte) error { _, err := Unmarshal[Record](b); return err },
		"job":     func(b []byte) error { _, err := Unmarshal[Job](b); return err },
	}
	tests := []struct {
		name, kind string
		data       []byte
		most       uint64
	}{
		{"parts that are nil", "chunk", within(array(small, 0xc0), "p"), 8 << 20},
		{"parts that are empty", "chunk", within(array(small, 0x80), "p"), 8 << 20},
		{"running attempts", "worker", within(array(small, 0xc0), "running"), 8 << 20},
		{"tags", "worker", within(array(small, 0xa0), "capabilities", "tags"), 8 << 20},
		{"holders", "lock", within(array(small, 0xc0), "holders"), 8 << 20},
		{"tools", "lane", within(array(small, 0xc0), "requires", "tools"), 8 << 20},
		{"warnings of a cell", "cell", within(array(small, 0xa0), "outcome", "warnings"), 8 << 20},
		{"a specification in a cell", "cell", within(array(small, 0xc0), "spec", "kept"), 8 << 20},
		{"grants", "record", within(array(8<<20, 0xc0), "grant", "attempts"), 300 << 20},
		{"kept results", "record", within(array(8<<20, 0xc0), "spec", "kept"), 300 << 20},
		{"modules that are empty", "record", within(array(8<<20, 0x80), "spec", "pipeline", "modules"), 300 << 20},
		{"lists of needs", "record", within(array(8<<20, 0x90), "spec", "needs"), 300 << 20},
		{"arguments", "job", within(array(8<<20, 0xa0), "command", "args"), 300 << 20},
	}
	for _, tt := range tests {
		var err error
		if got := allocated(func() { err = decode[tt.kind](tt.data) }); got > tt.most {
			t.Errorf("%s: %d MiB are allocated", tt.name, got>>20)
		}
		if !errors.Is(err, ErrMalformed) || !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestMessagesHaveALimitByKind(t *testing.T) {
	long := strings.Repeat("x", MaxSmall)
	for name, err := range map[string]error{
		"chunk":   second(Marshal(&LogChunk{Parts: []LogPart{{Data: []byte(long)}}})),
		"worker":  second(Marshal(&WorkerInfo{Name: long})),
		"lane":    second(Marshal(&LaneSet{Slots: 1})),
		"lease":   second(Marshal(&RunLease{Holder: long})),
		"lock":    second(Marshal(&LockEntry{Name: long})),
		"control": second(Marshal(&Control{Drain: &Drain{By: long}})),
		"claim":   second(Marshal(&Record{Claim: &Claim{Worker: long}})),
		"outcome": second(Marshal(&Record{Outcome: &Outcome{Error: long}})),
		"cancel":  second(Marshal(&Record{Cancel: &Cancel{Reason: long}})),
		"end":     second(Marshal(&Record{End: &End{Error: long}})),
		"spec":    second(Marshal(&Record{Spec: &Spec{Commit: long}})),
		"job":     second(Marshal(&Job{Name: long})),
	} {
		switch name {
		case "lane", "spec", "job":
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		default:
			if !errors.Is(err, ErrTooLarge) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	data, err := Marshal(&Record{Spec: &Spec{Commit: long}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := UnmarshalRecord(data, MaxSmall); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a long record where a short one belongs: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestResultsWithKeysThatCannotBeComparedAreRefused(t *testing.T) {
	for _, data := range [][]byte{{0x81, 0x90, 0xc3}, {0x81, 0x80, 0xc3}, {0x81, 0xc4, 0, 0xc3}, {0x91, 0x81, 0x91, 0x90, 1}} {
		if v, err := ResultOf(data).Result(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v, %v", data, v, err)
		}
	}
}

func TestARecordThatIsTooLargeIsShortened(t *testing.T) {
	long := strings.Repeat("ä", MaxSmall)
	for name, rec := range map[string]Record{
		"error":    {Outcome: &Outcome{Error: long}},
		"reason":   {Outcome: &Outcome{Reason: long}},
		"warnings": {Outcome: &Outcome{Warnings: []string{"one", long, "three"}}},
		"cancel":   {Cancel: &Cancel{ID: "c", Reason: long, By: long}},
		"end":      {End: &End{Error: long}},
	} {
		short := rec.Shortened()
		if _, err := Marshal(&short); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Marshal(&rec); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: the record itself has changed: %v", name, err)
		}
	}
}
