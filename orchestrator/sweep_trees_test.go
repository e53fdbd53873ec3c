package orchestrator_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/filestore"
	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// contents makes n files of 64 KB; every tree shares all but the first with the others.
func contents(seed uint64, n int) (*tree.Tree, transfer.Opener) {
	data := map[string][]byte{}
	var files []tree.File
	for i := range n {
		r := rand.New(rand.NewPCG(uint64(i), 0))
		if i == 0 {
			r = rand.New(rand.NewPCG(seed, 1))
		}
		b := make([]byte, 64<<10)
		for j := range b {
			b[j] = byte(r.Uint32())
		}
		path := fmt.Sprintf("f%03d", i)
		data[path] = b
		files = append(files, tree.File{Path: path, Size: int64(len(b)), Digest: sha256.Sum256(b)})
	}
	return must(tree.New(files)), func(f tree.File) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data[f.Path])), nil
	}
}

func (s *shelf) trees() content.Store { return must(s.conn.Files.In("main")) }

// push stores a tree of n files.
func (s *shelf) push(seed uint64, n int) jobs.Tree {
	s.t.Helper()
	t, open := contents(seed, n)
	ref, _, err := transfer.Push(s.t.Context(), s.trees(), t, open, time.Unix(1, 0))
	natstest.Check(s.t, err)
	return ref
}

// whole reports whether all of a tree is stored.
func (s *shelf) whole(ref jobs.Tree) error {
	local, err := filestore.Open(s.t.Context(), s.t.TempDir(), 0)
	if err != nil {
		return err
	}
	_, _, err = transfer.Fetch(s.t.Context(), s.trees(), ref, local, nil)
	return errors.Join(err, local.Close())
}

// TestSweepKeepsTreesInUse: the snapshot and the artifacts of an open run stay whole, and
// so does what they share with a tree that goes.
func TestSweepKeepsTreesInUse(t *testing.T) {
	s := newShelf(t)
	gone, snapshot, artifact := s.push(1, 40), s.push(2, 30), s.push(3, 20)
	s.ended("ended")
	s.append("ended", "m", jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded, Artifacts: []jobs.Artifact{{Name: "a", Tree: gone}}}})
	s.submit("open")
	s.append("open", "m", jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded, Artifacts: []jobs.Artifact{{Name: "a", Tree: artifact}}}})
	s.append("open", "n", jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded, Artifacts: []jobs.Artifact{{Name: "s", Tree: snapshot}}}})
	s.fill(0.95)
	s.sweep(now)
	natstest.Check(t, errors.Join(s.whole(snapshot), s.whole(artifact)))
	if err := s.whole(gone); err == nil {
		t.Error("the artifact of an ended run is kept without room")
	}
}

// TestSweepRacesRuns: sweeps without room run beside runs that store trees, which share
// most of their contents with trees that go. No run that is open ever lacks a part.
func TestSweepRacesRuns(t *testing.T) {
	s := newShelf(t)
	s.push(0, 30)
	s.fill(0.5)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var sweeping sync.WaitGroup
	dropped := 0
	sweeping.Go(func() {
		for ctx.Err() == nil {
			done, err := orchestrator.Sweep(ctx, s.conn, orchestrator.Retention{Every: atOnce, Grace: atOnce})
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			dropped += done.Blobs
		}
	})
	var g errgroup.Group
	for worker := range 3 {
		g.Go(func() error {
			for i := range 8 {
				run := jobs.RunID(fmt.Sprintf("r%d-%d", worker, i))
				s.submit(run)
				s.publish(run) // the job is in the queue until its outcome is recorded
				ref := s.push(uint64(worker*100+i), 30)
				s.append(run, "m", jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded, Artifacts: []jobs.Artifact{{Name: "a", Tree: ref}}}})
				if err := s.conn.Queue.PurgeRun(t.Context(), run); err != nil {
					return err
				}
				if err := s.whole(ref); err != nil {
					return fmt.Errorf("run %s: %w", run, err)
				}
				s.append(run, "", jobs.Record{End: &jobs.End{Status: report.RunSucceeded}})
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	stop()
	sweeping.Wait()
	if dropped == 0 {
		t.Error("nothing was dropped: the test shows nothing")
	}
}
