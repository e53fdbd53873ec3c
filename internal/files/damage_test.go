package files_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/files"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// damageStores flips a byte of every content that a machine keeps in dir.
func damageStores(t *testing.T, dir string) {
	t.Helper()
	natstest.Check(t, filepath.WalkDir(filepath.Join(dir, "content"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil || len(data) == 0 {
			return err
		}
		data[0] ^= 1
		if err := os.Chmod(path, 0o600); err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o600)
	}))
}

// TestArtifactDamagedOnTheMachine: what is damaged in the store of a machine is fetched
// again, in a directory of the attempt and in a workspace.
func TestArtifactDamagedOnTheMachine(t *testing.T) {
	f := newFleet(t)
	want := map[string]string{"a": "one", "b/c": "two", "d": "three"}
	artifact := jobs.Artifact{Name: "bin", Tree: *f.snapshot(want)}
	for _, in := range []string{"", t.TempDir()} {
		dir := t.TempDir()
		for range 2 {
			m := files.New(files.Config{Dir: dir, Remote: f.store})
			d, err := m.Prepare(t.Context(), &jobs.JobFiles{Restore: []jobs.Restore{{Artifact: artifact, Module: "build"}}}, in)
			natstest.Check(t, err)
			if diff := cmp.Diff(want, contentsOf(t, d.Found().Dir)); diff != "" {
				t.Error(diff)
			}
			natstest.Check(t, d.Close())
			natstest.Check(t, m.Close())
			damageStores(t, dir)
			if in != "" {
				natstest.Check(t, os.RemoveAll(filepath.Join(in, "b")))
			}
		}
	}
}

// TestArtifactDamagedInNATS: the error names the artifact and its module, and nothing is
// written.
func TestArtifactDamagedInNATS(t *testing.T) {
	s := natstest.InProcess(t)
	f := newFleetOn(t, s)
	d := attempt(t, f.machine(), &jobs.JobFiles{Produce: []pipeline.Produce{produced("bin", "out/**")}})
	left, err := leave(t, d, report.AttemptSucceeded, map[string]string{"out/a": strings.Repeat("binary ", 100)})
	natstest.Check(t, err)
	js := natstest.Must[natsjs.JetStream](t)(natsjs.New(s.Connect(t)))
	st := natstest.Must[natsjs.Stream](t)(js.Stream(natstest.Within(t), "OBJ_mp-blobs"))
	info := natstest.Must[*natsjs.StreamInfo](t)(st.Info(natstest.Within(t), natsjs.WithSubjectFilter("$O.mp-blobs.C.>")))
	for subject := range info.State.Subjects {
		m := natstest.Must[*natsjs.RawStreamMsg](t)(st.GetLastMsgForSubject(natstest.Within(t), subject))
		m.Data[len(m.Data)/2] ^= 1
		natstest.Must[*natsjs.PubAck](t)(js.Publish(natstest.Within(t), subject, m.Data))
	}
	in := t.TempDir()
	_, err = f.machine().Prepare(t.Context(), &jobs.JobFiles{Restore: []jobs.Restore{{Artifact: left[0], Module: "build"}}}, in)
	if !errors.Is(err, content.ErrDamaged) || !strings.Contains(err.Error(), "artifact bin of build") {
		t.Errorf("the error is %v", err)
	}
	if got := contentsOf(t, in); len(got) > 0 {
		t.Errorf("it wrote %v", got)
	}
}
