package transfer_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/faultproxy"
	"github.com/modpipe/modpipe/test/natstest"
)

// behind connects to a server through a proxy.
func behind(t *testing.T) (*site, *faultproxy.Proxy, *natstest.Server) {
	t.Helper()
	s := natstest.StartServer(t, nil)
	proxy := natstest.Must[*faultproxy.Proxy](t)(faultproxy.New(t.Context(), strings.TrimPrefix(s.URL(), "nats://")))
	natstest.Background(t, proxy.Run)
	return connect(t, "nats://"+proxy.Addr(), []nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(time.Millisecond)}), proxy, s
}

// stored is how many bytes a server stores.
func stored(t testing.TB, s *natstest.Server) uint64 {
	t.Helper()
	js := natstest.Must[natsjs.JetStream](t)(natsjs.New(s.Connect(t)))
	st := natstest.Must[natsjs.Stream](t)(js.Stream(natstest.Within(t), "OBJ_mp-blobs"))
	return st.CachedInfo().State.Bytes
}

// TestCutInALargeFile: the connection breaks again and again in the middle of a large
// file, in both directions of the transfer. It goes on, and reads the file once.
func TestCutInALargeFile(t *testing.T) {
	t.Parallel()
	s, proxy, _ := behind(t)
	f := files{"large": noise(1, 40<<20)}
	var read atomic.Int64
	cuts := 0
	open := func(file tree.File) (io.ReadCloser, error) {
		r, err := f.open(file)
		return cutting{counted{r, &read}, func(p []byte) {
			if n := read.Load(); n > int64(cuts+1)*(10<<20) {
				cuts++
				proxy.Reset()
			}
		}}, err
	}
	ref, stats, err := transfer.Push(natstest.Within(t), s.store, f.tree(t), open, time.Unix(1, 0))
	natstest.Check(t, err)
	if cuts < 3 || read.Load() != 40<<20 || stats.MovedBytes > 41<<20 {
		t.Errorf("%d cuts, %d bytes were read: %+v", cuts, read.Load(), stats)
	}
	l := local(t)
	g, ctx := errgroup.WithContext(natstest.Within(t))
	ctx, done := context.WithCancel(ctx)
	g.Go(func() error {
		defer done()
		_, _, err := transfer.Fetch(ctx, s.store, ref, l, nil)
		return err
	})
	for range 3 {
		proxy.Reset()
	}
	natstest.Check(t, g.Wait())
	holds(t, l, f)
}

// cutting calls a function at every read.
type cutting struct {
	io.ReadCloser
	f func([]byte)
}

func (c cutting) Read(p []byte) (int, error) {
	c.f(p)
	return c.ReadCloser.Read(p)
}

// TestKilledPushContinues: what a killed process has stored of a large file is not
// stored again by the next one.
func TestKilledPushContinues(t *testing.T) {
	t.Parallel()
	s, n := newSite(t)
	f := files{"large": noise(1, 40<<20)}
	ctx, kill := context.WithCancel(natstest.Within(t))
	defer kill()
	var read atomic.Int64
	open := func(file tree.File) (io.ReadCloser, error) {
		r, err := f.open(file)
		return cutting{counted{r, &read}, func([]byte) {
			if read.Load() >= 24<<20 {
				kill()
			}
		}}, err
	}
	if _, _, err := transfer.Push(ctx, s.store, f.tree(t), open, time.Unix(1, 0)); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	before := stored(t, n)
	ref, stats := s.push(f)
	if stats.MovedBytes > 28<<20 || stats.MovedBytes == 0 {
		t.Errorf("%d bytes are stored by the first, and %d are sent by the second", before, stats.MovedBytes)
	}
	if after := stored(t, n); after > 42<<20 {
		t.Errorf("%d bytes are stored", after)
	}
	s.fetch(ref, local(t), f)
}

// TestKilledAtAnyInstant: a push and a fetch that are killed at any instant are
// continued by the next ones, which move no more than is missing.
func TestKilledAtAnyInstant(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s, n := newSite(t)
		f := many(rapid.IntRange(1, 60).Draw(rt, "files"), 8<<10)
		f["large"] = noise(9, rapid.SampledFrom([]int{0, 1, 1 << 20, 5 << 20}).Draw(rt, "large"))
		opens := rapid.Int64Range(0, int64(len(f))).Draw(rt, "opened when killed")
		ctx, kill := context.WithCancel(natstest.Within(t))
		defer kill()
		var opened atomic.Int64
		open := func(file tree.File) (io.ReadCloser, error) {
			if opened.Add(1) > opens {
				kill()
			}
			return f.open(file)
		}
		_, first, err := transfer.Push(ctx, s.store, f.tree(t), open, time.Unix(1, 0))
		if err != nil && !errors.Is(err, context.Canceled) {
			rt.Fatal(err)
		}
		if rapid.Bool().Draw(rt, "NATS restarts") {
			n.Restart(t)
		}
		ref, second := s.push(f)
		if first.MovedBytes > 0 && second.MovedBytes > second.Bytes+second.Bytes/8+1<<20 {
			rt.Errorf("%+v, then %+v", first, second)
		}
		l := local(t)
		wants := rapid.Int64Range(0, int64(len(f))).Draw(rt, "files fetched when killed")
		var wanted atomic.Int64
		ctx, kill = context.WithCancel(natstest.Within(t))
		defer kill()
		_, _, err = transfer.Fetch(ctx, s.store, ref, l, func(tree.File) bool {
			if wanted.Add(1) > wants {
				kill()
			}
			return true
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			rt.Fatal(err)
		}
		s.fetch(ref, l, f)
	})
}

// TestTwoPushersAtOnce: of the same content, with chunks of any length.
func TestTwoPushersAtOnce(t *testing.T) {
	t.Parallel()
	one, n := newSite(t)
	two := connect(t, n.URL(), n.Options())
	f := many(500, 8<<10)
	f["large"] = noise(1, 12<<20)
	var g errgroup.Group
	refs := make([]jobs.Tree, 4)
	for i := range refs {
		s := []*site{one, two}[i%2]
		g.Go(func() (err error) {
			refs[i], _, err = transfer.Push(natstest.Within(t), s.store, f.tree(t), f.open, time.Unix(1, 0))
			return err
		})
	}
	natstest.Check(t, g.Wait())
	for _, ref := range refs {
		if ref != refs[0] {
			t.Errorf("%+v and %+v", ref, refs[0])
		}
	}
	one.fetch(refs[0], local(t), f)
}

// damage overwrites the messages of a subject.
func damage(t *testing.T, s *natstest.Server, filter string, change func([]byte)) {
	t.Helper()
	js := natstest.Must[natsjs.JetStream](t)(natsjs.New(s.Connect(t)))
	st := natstest.Must[natsjs.Stream](t)(js.Stream(natstest.Within(t), "OBJ_mp-blobs"))
	info := natstest.Must[*natsjs.StreamInfo](t)(st.Info(natstest.Within(t), natsjs.WithSubjectFilter(filter)))
	for subject := range info.State.Subjects {
		m := natstest.Must[*natsjs.RawStreamMsg](t)(st.GetLastMsgForSubject(natstest.Within(t), subject))
		change(m.Data)
		natstest.Must[*natsjs.PubAck](t)(js.Publish(natstest.Within(t), subject, m.Data))
	}
	if len(info.State.Subjects) == 0 {
		t.Fatalf("nothing is stored on %s", filter)
	}
}

func flip(b []byte) { b[len(b)/2] ^= 1 }

// TestDamageIsFoundAndRepaired: nothing that is damaged in NATS arrives. The error says
// which file it is, and the next push stores it again.
func TestDamageIsFoundAndRepaired(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]files{"pack": many(20, 8<<10), "large file": {"large": noise(1, 9<<20)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, n := newSite(t)
			ref, _ := s.push(f)
			damage(t, n, "$O.mp-blobs.C.main.*.*.*", func(b []byte) {
				if len(b) > 8<<10 { // not lists
					flip(b)
				}
			})
			l := local(t)
			_, _, err := transfer.Fetch(natstest.Within(t), s.store, ref, l, nil)
			if !errors.Is(err, content.ErrDamaged) || !errors.Is(err, jetstream.ErrNotFound) {
				t.Fatalf("%v", err)
			}
			named := false
			for path, data := range f {
				named = named || strings.Contains(err.Error(), path)
				if l.Has(tree.Digest(sum(data))) {
					t.Errorf("%s arrived", path)
				}
			}
			if !named {
				t.Errorf("no file is named: %v", err)
			}
			again, stats := s.push(f)
			if again.Root != ref.Root || stats.MovedBytes == 0 {
				t.Errorf("the next push: %+v", stats)
			}
			s.fetch(again, l, f)
		})
	}
}

// TestDamagedListIsFound: a list with other files than the tree is refused.
func TestDamagedListIsFound(t *testing.T) {
	t.Parallel()
	s, n := newSite(t)
	ref, _ := s.push(many(20, 1<<10))
	damage(t, n, "$O.mp-blobs.C.main.*.*.*", flip)
	if _, err := transfer.Load(natstest.Within(t), s.store, ref); !errors.Is(err, content.ErrDamaged) {
		t.Errorf("%v", err)
	}
	s, _ = newSite(t)
	ref, _ = s.push(many(20, 1<<10))
	other, _ := s.push(many(21, 1<<10))
	ref.Manifest = other.Manifest
	if _, err := transfer.Load(natstest.Within(t), s.store, ref); !errors.Is(err, content.ErrDamaged) {
		t.Errorf("the manifest of another tree: %v", err)
	}
	ref.Namespace = "a.>"
	if _, err := transfer.Load(natstest.Within(t), s.store, ref); err == nil {
		t.Error("a namespace of several tokens is accepted")
	}
}

// TestChangedFileIsNotStored: a file that is not what the tree names fails the push.
func TestChangedFileIsNotStored(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	for _, size := range []int{100, 9 << 20} {
		f := files{"other": []byte("x"), "changed": noise(1, size)}
		list := f.tree(t)
		for _, changed := range [][]byte{noise(2, size), noise(1, size)[:size-1], append(noise(1, size), 1)} {
			f["changed"] = changed
			_, _, err := transfer.Push(natstest.Within(t), s.store, list, f.open, time.Unix(1, 0))
			if !errors.Is(err, content.ErrChanged) || !strings.Contains(err.Error(), "changed: ") {
				t.Errorf("%d instead of %d bytes: %v", len(changed), size, err)
			}
		}
	}
}

// TestFullStore: a push fails with advice or waits, as its store says; it continues when
// there is room.
func TestFullStore(t *testing.T) {
	t.Parallel()
	s, n := newSite(t)
	f := many(100, 32<<10)
	limit := func(bytes int64) {
		t.Helper()
		js := natstest.Must[natsjs.JetStream](t)(natsjs.New(n.Connect(t)))
		st := natstest.Must[natsjs.Stream](t)(js.Stream(natstest.Within(t), "OBJ_mp-blobs"))
		cfg := st.CachedInfo().Config
		cfg.MaxBytes = bytes
		natstest.Must[natsjs.Stream](t)(js.UpdateStream(natstest.Within(t), cfg))
	}
	limit(1 << 20)
	_, _, err := transfer.Push(natstest.Within(t), s.store.WhenFull(jetstream.FailWhenFull), f.tree(t), f.open, time.Unix(1, 0))
	if !errors.Is(err, jetstream.ErrFull) || !strings.Contains(err.Error(), "OBJ_mp-blobs") {
		t.Errorf("%v", err)
	}
	pushed := make(chan jobs.Tree, 1)
	natstest.Background(t, func(ctx context.Context) error {
		ref, _, err := transfer.Push(ctx, s.store, f.tree(t), f.open, time.Unix(1, 0))
		pushed <- ref
		return err
	})
	limit(1 << 30)
	s.fetch(natstest.Receive(t, natstest.Within(t), pushed), local(t), f)
}

// TestPoisonIsNotBelieved: content that another namespace claims to have is sent, unless
// that namespace is one from which the sender reads.
func TestPoisonIsNotBelieved(t *testing.T) {
	t.Parallel()
	s, n := newSite(t)
	f := many(50, 8<<10)
	evil := s.in("evil")
	evil.push(f)
	damage(t, n, "$O.mp-blobs.C.evil.*.*.*", flip)
	_, stats := s.push(f)
	if stats.MovedBytes < stats.Bytes/2 {
		t.Errorf("only %d of %d bytes are sent", stats.MovedBytes, stats.Bytes)
	}
	ref, _ := s.push(f) // now it is held
	s.fetch(ref, local(t), f)
	guest := s.in("guest", "main")
	ref, stats = guest.push(f)
	if stats.MovedBytes > 1<<10 || ref.Namespace != "guest" {
		t.Errorf("%+v: %+v", ref, stats)
	}
	guest.fetch(ref, local(t), f)
	s.fetch(ref, local(t), f)
}

// TestOnlyWhatAWorkerMay: a user that may read and write its namespace, and nothing else,
// pushes and fetches.
func TestOnlyWhatAWorkerMay(t *testing.T) {
	t.Parallel()
	boss := &server.User{Username: "boss", Password: "x"}
	worker := &server.User{Username: "worker", Password: "x", Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			"$O.mp-blobs.*.main.>", "$JS.API.DIRECT.GET.OBJ_mp-blobs.$O.mp-blobs.*.main.>", "$JS.API.STREAM.INFO.MP_RUNS",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
	}}
	n := natstest.StartServer(t, func(o *server.Options) { o.Users = []*server.User{boss, worker} })
	connect(t, n.URL(), []nats.Option{nats.UserInfo("boss", "x")})
	s := connect(t, n.URL(), []nats.Option{nats.UserInfo("worker", "x")})
	f := many(50, 8<<10)
	f["large"] = noise(1, 9<<20)
	ref, _ := s.push(f)
	s.push(f)
	s.fetch(ref, local(t), f)
	_, _, err := transfer.Push(natstest.Within(t), s.in("other").store, f.tree(t), f.open, time.Unix(1, 0))
	if !errors.Is(err, jetstream.ErrDenied) {
		t.Errorf("another namespace: %v", err)
	}
}
