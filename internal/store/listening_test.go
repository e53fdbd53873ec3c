package store

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/modpipe/modpipe/internal/atomicfile"
	"github.com/modpipe/modpipe/internal/ident"
)

// TestStaleListenFileMisleadsNobody: what a killed server has left, what is of
// another machine, and what others can write is not believed.
func TestStaleListenFileMisleadsNobody(t *testing.T) {
	state := t.TempDir()
	live, err := Announce(t.Context(), state, Listening{Address: "127.0.0.1:4222"})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := ReadListening(state, "4222"); !ok {
		t.Fatal("a live one is not found")
	}
	if _, err := Announce(t.Context(), state, Listening{Address: "127.0.0.2:4222"}); err == nil {
		t.Error("two servers announce themselves at one port")
	}
	path := listenPath(state, "4222")
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, ok := ReadListening(state, "4222"); ok {
		t.Error("a file that others can write is believed")
	}
	text, err := json.Marshal(Listening{Address: "127.0.0.1:4222", Host: "elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := ReadListening(state, "4222"); ok {
		t.Error("a server of another machine is believed to be of this one")
	}
	live.Close()
	text, err = json.Marshal(Listening{Address: "127.0.0.1:4222", Host: ident.Host(), PID: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := ReadListening(state, "4222"); ok {
		t.Error("a file whose server is gone is believed")
	}
	again, err := Announce(t.Context(), state, Listening{Address: "127.0.0.1:4222"})
	if err != nil {
		t.Fatalf("the next server: %v", err)
	}
	again.Close()
}
