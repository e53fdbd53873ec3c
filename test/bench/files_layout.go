package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/internal/filestore"
	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
)

// layout is a way to keep a tree in NATS.
type layout struct {
	stream string
	send   func(ctx context.Context, url string, t *tree.Tree, read func(tree.File) ([]byte, error)) error
	fetch  func(ctx context.Context, url string, t *tree.Tree, local *filestore.Store) error
}

// layoutWindow is how many requests are on their way at the same time.
const layoutWindow = 64

// objects keeps an object of nats.go's object store for each file.
func objects() layout {
	store := func(url string) (nats.ObjectStore, error) {
		nc, err := nats.Connect(url)
		if err != nil {
			return nil, err
		}
		js, err := nc.JetStream()
		if err != nil {
			return nil, err
		}
		return js.CreateObjectStore(&nats.ObjectStoreConfig{Bucket: "files"})
	}
	return layout{
		stream: "OBJ_files",
		send: func(_ context.Context, url string, t *tree.Tree, read func(tree.File) ([]byte, error)) error {
			o, err := store(url)
			if err != nil {
				return err
			}
			return eachFile(t, func(f tree.File) error {
				data, err := read(f)
				if err == nil {
					_, err = o.PutBytes(f.Digest.String(), data)
				}
				return err
			})
		},
		fetch: func(ctx context.Context, url string, t *tree.Tree, local *filestore.Store) error {
			o, err := store(url)
			if err != nil {
				return err
			}
			return eachFile(t, func(f tree.File) error {
				data, err := o.GetBytes(f.Digest.String())
				if err != nil {
					return err
				}
				return local.Add(ctx, f.Digest, bytes.NewReader(data))
			})
		},
	}
}

// eachFile calls f for the files of a tree, some at a time.
func eachFile(t *tree.Tree, f func(tree.File) error) error {
	var g errgroup.Group
	g.SetLimit(layoutWindow)
	for _, file := range t.Files {
		g.Go(func() error { return f(file) })
	}
	return g.Wait()
}

// subjects keeps a message for each file, on a subject of its own.
func subjects() layout {
	return layout{
		stream: "CAS",
		send: func(_ context.Context, url string, t *tree.Tree, read func(tree.File) ([]byte, error)) error {
			nc, err := nats.Connect(url)
			if err != nil {
				return err
			}
			defer nc.Close()
			js, err := nc.JetStream()
			if err != nil {
				return err
			}
			if _, err := js.AddStream(&nats.StreamConfig{Name: "CAS", Subjects: []string{"cas.>"}, AllowDirect: true, Compression: nats.S2Compression}); err != nil {
				return err
			}
			return eachFile(t, func(f tree.File) error {
				data, err := read(f)
				if err == nil {
					_, err = js.Publish("cas."+f.Digest.String(), data)
				}
				return err
			})
		},
		fetch: func(ctx context.Context, url string, t *tree.Tree, local *filestore.Store) error {
			nc, err := nats.Connect(url)
			if err != nil {
				return err
			}
			defer nc.Close()
			return eachFile(t, func(f tree.File) error {
				m, err := nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET.CAS.cas."+f.Digest.String(), nil)
				if err != nil {
					return err
				}
				return local.Add(ctx, f.Digest, bytes.NewReader(m.Data))
			})
		},
	}
}

// packs keeps the tree as modpipe does.
func packs() layout {
	var ref []byte
	return layout{
		stream: "OBJ_mp-blobs",
		send: func(ctx context.Context, url string, t *tree.Tree, read func(tree.File) ([]byte, error)) error {
			s, done, err := filesStore(ctx, url)
			if err != nil {
				return err
			}
			defer done()
			open := func(f tree.File) (io.ReadCloser, error) {
				data, err := read(f)
				return io.NopCloser(bytes.NewReader(data)), err
			}
			stored, _, err := transfer.Push(ctx, s, t, open, time.Now())
			if err == nil {
				ref, err = json.Marshal(stored)
			}
			return err
		},
		fetch: func(ctx context.Context, url string, _ *tree.Tree, local *filestore.Store) error {
			s, done, err := filesStore(ctx, url)
			if err != nil {
				return err
			}
			defer done()
			var m moved
			if err := json.Unmarshal(ref, &m.Ref); err != nil {
				return err
			}
			_, _, err = transfer.Fetch(ctx, s, m.Ref, local, nil)
			return err
		},
	}
}

// filesLayout measures a layout: `files-layout NAME FILES`.
func filesLayout(args []string) error {
	ctx := context.Background()
	l, ok := map[string]func() layout{"objects": objects, "subjects": subjects, "packs": packs}[args[0]]
	n, err := strconv.Atoi(args[1])
	if err != nil || !ok {
		return fmt.Errorf("no layout %s", args[0])
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // of the temporary directory
	root := filepath.Join(dir, "tree")
	if err := makeFiles(root, n, 4<<10, false); err != nil {
		return err
	}
	t, err := takeTree(root)
	if err != nil {
		return err
	}
	local, err := filestore.Open(ctx, filepath.Join(dir, "files"), 0)
	if err != nil {
		return err
	}
	row, err := l().measure(ctx, dir, t, local)
	row.Layout, row.Files = args[0], n
	return errors.Join(err, local.Close(), json.NewEncoder(os.Stdout).Encode(row))
}

func (l layout) measure(ctx context.Context, dir string, t *tree.Tree, local *filestore.Store) (row layoutRow, err error) {
	var others family
	defer others.kill()
	url, err := others.server(dir) //nolint:contextcheck // it lasts longer than a request
	if err != nil {
		return row, err
	}
	server := strconv.Itoa(others.members[0].Process.Pid)
	before, began := residentOf(server), time.Now()
	read := func(f tree.File) ([]byte, error) { return os.ReadFile(filepath.Join(dir, "tree", f.Path)) }
	if err := l.send(ctx, url, t, read); err != nil {
		return row, err
	}
	row.Send, began = time.Since(began).Seconds(), time.Now()
	if err := l.fetch(ctx, url, t, local); err != nil {
		return row, err
	}
	row.Fetch = time.Since(began).Seconds()
	nc, err := nats.Connect(url)
	if err != nil {
		return row, err
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		return row, err
	}
	info, err := js.StreamInfo(l.stream)
	if err != nil {
		return row, err
	}
	row.Subjects, row.StoredMB, row.ServerMB = int(info.State.NumSubjects), float64(info.State.Bytes)/1e6, residentOf(server)-before //nolint:gosec // few
	return row, nil
}
