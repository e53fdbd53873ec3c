package broker

import "testing"

func TestReadersShareWhatALinkCarries(t *testing.T) {
	const rate = 125_000
	var link intake
	if got := link.enter(); got != aheadFirst {
		t.Errorf("over an unknown link a reader asks for %d bytes", got)
	}
	link.leave(rate, false)
	want := int(rate * aheadTime.Seconds())
	if got := link.enter(); got != want {
		t.Errorf("a reader alone asks for %d bytes, want %d", got, want)
	}
	if got := link.enter(); got != want/2 {
		t.Errorf("the second of two readers asks for %d bytes, want %d", got, want/2)
	}
	link.leave(rate/2, false)
	link.leave(0, false) // it measured nothing: what is known stays
	if got := link.enter(); got != want {
		t.Errorf("afterwards a reader asks for %d bytes, want %d", got, want)
	}
	link.leave(0, true)
	if got := link.enter(); got != aheadFirst {
		t.Errorf("after a broken connection a reader asks for %d bytes", got)
	}
	link.leave(2*aheadMost, false)
	if got := link.enter(); got != 0 {
		t.Errorf("over a fast link a reader asks for %d bytes, and needs no bound", got)
	}
}
