package watch

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// record starts a recorder and returns how commands reach it.
func record(t *testing.T) (*Recorder, func() *Client) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := NewRecorder()
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := r.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		serving.Wait()
	})
	return r, func() *Client {
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		return NewClient(conn)
	}
}

// await waits until the history has an execution.
func await(t *testing.T, r *Recorder, found func(*Exec) bool) Exec {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e, err := r.Await(ctx, found)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestLifeOfACommand(t *testing.T) {
	r, dial := record(t)
	c := dial()
	id, fenced, err := c.Start(Hello{Run: "r", Module: "m", Attempt: 1})
	if err != nil || fenced || id != 1 {
		t.Fatalf("started as %d, %v, %v", id, fenced, err)
	}
	if fenced, err := c.Beat(); fenced || err != nil {
		t.Fatalf("beat: %v, %v", fenced, err)
	}
	if err := c.End(3); err != nil {
		t.Fatal(err)
	}
	if e := r.Execs()[0]; e.Gone != 0 || e.Code != 3 || e.Start <= 0 || e.Start >= e.First || e.First >= e.Bye {
		t.Errorf("before it is gone: %+v", e)
	}
	c.conn.Close()
	if e := await(t, r, func(e *Exec) bool { return e.Gone > 0 }); e.Gone <= e.Bye || e.Last != e.Bye {
		t.Errorf("after: %+v", e)
	}
}

func TestKilledCommand(t *testing.T) {
	r, dial := record(t)
	c := dial()
	if _, _, err := c.Start(Hello{Run: "r"}); err != nil {
		t.Fatal(err)
	}
	c.conn.Close()
	if e := await(t, r, func(e *Exec) bool { return e.Gone > 0 }); e.Bye != 0 || e.Gone <= e.Last {
		t.Errorf("it is %+v", e)
	}
}

func TestFence(t *testing.T) {
	r, dial := record(t)
	key, limit := Lock{"k", 1, 1}, Lock{"l", 2, 1}
	old, young, late := dial(), dial(), dial()
	if _, fenced, err := old.Start(Hello{Token: 5, Locks: []Lock{key, limit}}); fenced || err != nil {
		t.Fatal(fenced, err)
	}
	if _, fenced, err := young.Start(Hello{Token: 9, Locks: []Lock{key, limit}}); fenced || err != nil {
		t.Fatal(fenced, err)
	}
	if fenced, err := old.Beat(); !fenced || err != nil {
		t.Errorf("an old holder goes on: %v, %v", fenced, err)
	}
	if _, fenced, err := late.Start(Hello{Token: 7, Locks: []Lock{key}}); !fenced || err != nil {
		t.Errorf("an old holder starts: %v, %v", fenced, err)
	}
	if fenced, err := young.Beat(); fenced || err != nil {
		t.Errorf("the holder is refused: %v, %v", fenced, err)
	}
	all := r.Execs()
	if n := len(all[0].Refused); n != 1 || all[0].Refused[0].Lock != "k" || all[0].Last != all[0].Start {
		t.Errorf("the old one: %+v", all[0])
	}
	if len(all[1].Refused) != 0 || all[2].Refused[0].At != all[2].Start {
		t.Errorf("the others: %+v", all[1:])
	}
}
