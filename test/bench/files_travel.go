package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/filestore"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
)

// makeFiles makes n files of so many bytes, half of which compress well, or in a noisy
// tree not at all.
func makeFiles(root string, n, size int, noisy bool) error {
	b := make([]byte, min(size, 1<<20))
	for i := range n {
		dir := root
		if n > 1000 {
			dir = filepath.Join(root, "d"+strconv.Itoa(i%100))
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		f, err := os.Create(filepath.Join(dir, strconv.Itoa(i))) //nolint:gosec // of the measurement
		if err != nil {
			return err
		}
		r := rand.NewChaCha8(sha256.Sum256([]byte(strconv.Itoa(i))))
		for left := size; left > 0; left -= len(b) {
			noise := b[:len(b)/2]
			if noisy {
				noise = b
			}
			_, _ = r.Read(noise) // never fails
			if _, err := f.Write(b[:min(left, len(b))]); err != nil {
				return errors.Join(err, f.Close())
			}
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// takeTree lists and hashes the files below a directory, as a snapshot does.
func takeTree(root string) (*tree.Tree, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // it was only read
	return tree.Take(context.Background(), r, tree.TakeOptions{})
}

// filesStore connects to the store of files, as a worker does.
func filesStore(ctx context.Context, url string) (content.Store, func(), error) {
	c, err := jetstream.Connect(ctx, jetstream.Config{URL: url, ConnectTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler), Streams: streams.Settings(), Probe: streams.Runs})
	if err != nil {
		return content.Store{}, nil, err
	}
	s := content.New(c, streams.BlobsBucket, "main", streams.BlobsAge)
	if _, err := s.PutBytes(ctx, []byte("warm")); err != nil { // opens the second connection
		return content.Store{}, nil, err
	}
	return s, c.Close, nil
}

// moved is what one side of a transfer prints.
type moved struct {
	Spent spent
	MB    float64 // of memory above the moment before
	Sent  int64
	Ref   jobs.Tree
}

// filesPush sends a tree: `files-push URL DIR [PREPARED]`. With a third argument the
// time is that of a workspace of which an index knows the digests: the files are
// examined, and hashed before.
func filesPush(args []string) error {
	ctx := context.Background()
	s, done, err := filesStore(ctx, args[0])
	if err != nil {
		return err
	}
	defer done()
	t, err := takeTree(args[1])
	if err != nil {
		return err
	}
	open := func(f tree.File) (io.ReadCloser, error) {
		return os.Open(filepath.Join(args[1], filepath.FromSlash(f.Path))) //nolint:gosec // of the measurement
	}
	stop, err := profile(".push" + strings.Join(args[2:], "."))
	if err != nil {
		return err
	}
	before, w := peakOf("self"), watch(nil)
	if len(args) > 2 {
		for i := range t.Files { // what an index costs
			if _, err := os.Lstat(filepath.Join(args[1], t.Files[i].Path)); err != nil {
				return err
			}
		}
	} else if _, err = takeTree(args[1]); err != nil { // a snapshot reads everything, too
		return err
	}
	ref, stats, err := transfer.Push(ctx, s, t, open, time.Now())
	if err != nil {
		return err
	}
	took := w.read()
	stop()
	return json.NewEncoder(os.Stdout).Encode(moved{Spent: took, MB: peakOf("self") - before, Sent: stats.MovedBytes, Ref: ref})
}

// filesFetch fetches a tree into a store: `files-fetch URL REF DIR`.
func filesFetch(args []string) error {
	ctx := context.Background()
	s, done, err := filesStore(ctx, args[0])
	if err != nil {
		return err
	}
	defer done()
	var ref jobs.Tree
	if err := json.Unmarshal([]byte(args[1]), &ref); err != nil {
		return err
	}
	local, err := filestore.Open(ctx, args[2], 0)
	if err != nil {
		return err
	}
	stop, err := profile(".fetch")
	if err != nil {
		return err
	}
	before, w := peakOf("self"), watch(nil)
	_, stats, err := transfer.Fetch(ctx, s, ref, local, nil)
	if err != nil {
		return err
	}
	took := w.read()
	stop()
	return errors.Join(local.Close(), json.NewEncoder(os.Stdout).Encode(moved{Spent: took, MB: peakOf("self") - before, Sent: stats.MovedBytes}))
}

// travel sends dir/tree by one process and fetches it by another one, over a server in a
// third. changed continues with the server and the tree of the last call.
func (r *filesRow) travel(dir string, changed bool) (tree jobs.Tree, err error) {
	var others family
	defer others.kill()
	url, err := others.server(dir)
	if err != nil {
		return tree, err
	}
	server := strconv.Itoa(others.members[0].Process.Pid)
	before := peakOf(server)
	push := []string{"files-push", url, filepath.Join(dir, "tree")}
	if changed {
		push = append(push, "index")
	}
	var sent, got moved
	serving := watch(&others)
	if err := self(&sent, push...); err != nil {
		return tree, err
	}
	sent.Spent.CPU += serving.read().CPU
	ref, err := json.Marshal(sent.Ref)
	if err != nil {
		return tree, err
	}
	serving = watch(&others)
	if err := self(&got, "files-fetch", url, string(ref), filepath.Join(dir, "files")); err != nil {
		return tree, err
	}
	got.Spent.CPU += serving.read().CPU
	r.Send, r.Back, r.SentMB = sent.Spent, got.Spent, float64(sent.Sent)/1e6
	r.SenderMB, r.ReaderMB, r.ServerMB = sent.MB, got.MB, peakOf(server)-before
	return sent.Ref, nil
}

// rawFigures are those of filesRaw.
type rawFigures struct{ Send, Back spent }

// filesRaw is the floor of a large file: `files-raw FILE DIR`.
func filesRaw(args []string) error {
	var others family
	defer others.kill()
	url, err := others.server(args[1])
	if err != nil {
		return err
	}
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	js, err := nc.JetStream(nats.PublishAsyncMaxPending(16))
	if err != nil {
		return err
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "RAW", Subjects: []string{"raw"}, Compression: nats.S2Compression}); err != nil {
		return err
	}
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	w, messages := watch(&others), 0
	for b := make([]byte, 1<<20-1<<10); ; messages++ {
		n, err := io.ReadFull(f, b)
		if n == 0 {
			break
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if _, err := js.PublishAsync("raw", append([]byte(nil), b[:n]...), nats.StallWait(time.Minute)); err != nil {
			return err
		}
	}
	<-js.PublishAsyncComplete()
	raw := rawFigures{Send: w.read()}
	w = watch(&others)
	out, err := os.Create(filepath.Join(args[1], "raw"))
	if err != nil {
		return err
	}
	sub, err := js.SubscribeSync("raw", nats.OrderedConsumer())
	if err != nil {
		return err
	}
	for range messages {
		m, err := sub.NextMsg(time.Minute)
		if err != nil {
			return fmt.Errorf("read the floor: %w", err)
		}
		if _, err := out.Write(m.Data); err != nil {
			return err
		}
	}
	raw.Back = w.read()
	return errors.Join(out.Close(), os.RemoveAll(filepath.Join(args[1], "nats")), json.NewEncoder(os.Stdout).Encode(raw))
}
