package store

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/modpipe/modpipe/internal/atomicfile"
	"github.com/modpipe/modpipe/internal/ident"
)

// TestUntrustedListenFileIsIgnored checks the files of a killed server and of another
// machine, and files that other users can write.
func TestUntrustedListenFileIsIgnored(t *testing.T) {
	state := t.TempDir()
	live, err := Announce(t.Context(), state, Listening{Address: "127.0.0.1:4222"})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := ReadListening(state, "4222"); !ok {
		t.Fatal("the file of a live server is ignored")
	}
	if _, err := Announce(t.Context(), state, Listening{Address: "127.0.0.2:4222"}); err == nil {
		t.Error("two servers announce themselves at one port")
	}
	path := listenPath(state, "4222")
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, ok := ReadListening(state, "4222"); ok {
		t.Error("a file that others can write is used")
	}
	text, err := json.Marshal(Listening{Address: "127.0.0.1:4222", Host: "elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := ReadListening(state, "4222"); ok {
		t.Error("the file of a server on another machine is used")
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
		t.Error("a file whose server has ended is used")
	}
	again, err := Announce(t.Context(), state, Listening{Address: "127.0.0.1:4222"})
	if err != nil {
		t.Fatalf("the next server: %v", err)
	}
	again.Close()
}
