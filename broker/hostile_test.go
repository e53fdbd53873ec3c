package broker_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
)

// warnings keeps the texts of log messages.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

func (w *warnings) Enabled(context.Context, slog.Level) bool { return true }
func (w *warnings) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w *warnings) WithGroup(string) slog.Handler            { return w }

func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, r.Message)
	return nil
}

func (w *warnings) count(text string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.texts {
		if strings.Contains(t, text) {
			n++
		}
	}
	return n
}

// hostile returns a connection, and a second client that may write anything.
func hostile(t *testing.T) (*broker.Conn, *warnings, func(subject string, data []byte, header nats.Header)) {
	t.Helper()
	s := natstest.InProcess(t)
	cfg, log := config(t, s), &warnings{}
	cfg.Logger = slog.New(log)
	c, err := broker.Connect(t.Context(), cfg)
	natstest.Check(t, err)
	t.Cleanup(c.Close)
	return c, log, func(subject string, data []byte, header nats.Header) {
		t.Helper()
		if _, err := c.Request(natstest.Within(t), &nats.Msg{Subject: subject, Data: data, Header: header}); err != nil {
			t.Fatal(err)
		}
	}
}

func objectEntry(name, key, nuid, size string) (subject string, data []byte) {
	return "$O.mp-blobs.M." + base64.URLEncoding.EncodeToString([]byte(key)),
		fmt.Appendf(nil, `{"name":%q,"bucket":"mp-blobs","nuid":%q,"size":%s,"chunks":1}`, name, nuid, size)
}

func bomb(t *testing.T, n int) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	natstest.Check(t, err)
	return e.EncodeAll(make([]byte, n), nil)
}

// TestFalseObjectEntriesAreRejected: for every false claim of an entry, readers get
// an error or skip the record, and use little memory.
func TestFalseObjectEntriesAreRejected(t *testing.T) {
	t.Parallel()
	key := strings.Repeat("ab", 32)
	tests := []struct{ name, entry, nuid, size string }{
		{"the largest size", key, "id", "18446744073709551615"},
		{"a size whose sign is set", key, "id", "9223372036854775808"},
		{"a negative size", key, "id", "-1"},
		{"a size within the limit, without bytes", key, "id", "200000000"},
		{"no size at all", key, "id", `"x"`},
		{"another name", strings.Repeat("cd", 32), "id", "5"},
		{"chunks of everything", key, ">", "5"},
		{"no chunks", key, "", "5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _, put := hostile(t)
			ctx := natstest.Within(t)
			subject, data := objectEntry(tt.entry, key, tt.nuid, tt.size)
			put(subject, data, nil)
			natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "", 0, spec("r")))
			put("mp.run.r.mod.m", nil, nats.Header{"Mp-Blob": {key}})
			put("mp.log.r.m.1", nil, nats.Header{"Mp-Blob": {key}})

			log := natstest.Must[[]jobs.Entry](t)(c.Runs.Read(ctx, "r"))
			if len(log) != 2 || log[1].Unread == nil || log[1].Cell != "m" {
				t.Errorf("the log: %+v", log)
			}
			natstest.Check(t, c.Logs.Read(ctx, "r", "", 0, func(e broker.LogEntry) error {
				if e.Unread == nil {
					t.Errorf("a chunk: %+v", e)
				}
				return nil
			}))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := c.Values.Outputs(ctx, jobs.Value{Ref: jobs.Blob{SHA256: key, Bytes: -1}}); err == nil {
				t.Error("outputs are read")
			}
			if _, err := c.Values.Load(ctx, jobs.Value{Kind: jobs.ResultValue, Ref: jobs.Blob{SHA256: key}}); err == nil {
				t.Error("a result is read")
			}
			runtime.ReadMemStats(&after)
			if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 100 {
				t.Errorf("%d MiB are allocated", mib)
			}
			natstest.Must[[]content.Stored](t)(c.Values.List(ctx))
		})
	}
}

// TestInvalidEntryIsReplaced: storing a value replaces the invalid entry, and removes
// no other object's chunks.
func TestInvalidEntryIsReplaced(t *testing.T) {
	t.Parallel()
	c, _, put := hostile(t)
	ctx := natstest.Within(t)
	other := natstest.Must[jobs.Value](t)(c.Values.Put(ctx, jobs.OutputsOf(map[string]string{"o": longText(broker.InlineLimit + 1)})))
	value := map[string]string{"o": longText(broker.InlineLimit + 2)}
	o := natstest.Must[jobs.Value](t)(c.Values.Put(ctx, jobs.OutputsOf(value)))
	for _, nuid := range []string{">", "*", "", "a b"} {
		subject, data := objectEntry(o.Ref.SHA256, o.Ref.SHA256, nuid, "18446744073709551615")
		put(subject, data, nil)
		again := natstest.Must[jobs.Value](t)(c.Values.Put(ctx, jobs.OutputsOf(value)))
		if got := natstest.Must[map[string]string](t)(c.Values.Outputs(ctx, again)); got["o"] != value["o"] {
			t.Errorf("with chunks %q: %d bytes come back", nuid, len(got["o"]))
		}
	}
	natstest.Must[map[string]string](t)(c.Values.Outputs(ctx, other))
}

func TestReferencesWithoutADigestAreRefused(t *testing.T) {
	t.Parallel()
	c, _, _ := hostile(t)
	for _, digest := range []string{"../../etc/passwd", strings.Repeat("a", 60000), strings.Repeat("A", 64), "*"} {
		if _, err := c.Values.Outputs(natstest.Within(t), jobs.Value{Ref: jobs.Blob{SHA256: digest}}); !errors.Is(err, jobs.ErrMalformed) {
			t.Errorf("%.20s: %v", digest, err)
		}
	}
}

// TestCompressedMessagesAreLimitedByKind: a message that would exceed the limit of
// its kind is not decompressed.
func TestCompressedMessagesAreLimitedByKind(t *testing.T) {
	t.Parallel()
	c, _, put := hostile(t)
	ctx := natstest.Within(t)
	natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "", 0, spec("r")))
	b := natstest.Must[*jetstream.Bucket](t)(c.OpenBucket(ctx, jetstream.BucketConfig{Name: "mp-things"}))
	compressed := nats.Header{"Mp-Encoding": {"zstd"}}
	for _, n := range []int{2 << 20, 100 << 20} {
		body := bomb(t, n)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		put("mp.run.r.mod.m", body, compressed)
		put("mp.log.r.m.1", body, compressed)
		put("$KV.mp-things.k", body, compressed)
		if last := natstest.Must[jobs.Entry](t)(c.Runs.Last(ctx, "r", "m")); !errors.Is(last.Unread, jobs.ErrTooLarge) {
			t.Errorf("%d bytes in a cell: %v", n, last.Unread)
		}
		natstest.Check(t, c.Logs.Read(ctx, "r", "", 0, func(e broker.LogEntry) error {
			if !errors.Is(e.Unread, jobs.ErrTooLarge) {
				t.Errorf("%d bytes in a chunk: %v", n, e.Unread)
			}
			return nil
		}))
		if e := natstest.Must[jetstream.BucketEntry](t)(b.Last(ctx, "k")); !errors.Is(e.Unread, jobs.ErrTooLarge) {
			t.Errorf("%d bytes in a bucket: %v", n, e.Unread)
		}
		runtime.ReadMemStats(&after)
		if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 50 {
			t.Errorf("%d bytes: %d MiB are allocated", n, mib)
		}
	}
}

// TestLongSpecificationIsDecompressed: it is longer than the limit for one step.
func TestLongSpecificationIsDecompressed(t *testing.T) {
	t.Parallel()
	c, _, put := hostile(t)
	ctx := natstest.Within(t)
	long := jobs.Record{Spec: &jobs.Spec{Run: "r", Commit: strings.Repeat("x", 5<<20), Pipeline: &pipeline.Pipeline{Name: "p"}}}
	natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "", 0, long))
	log := natstest.Must[[]jobs.Entry](t)(c.Runs.Read(ctx, "r"))
	if got := len(log[0].Record.Spec.Commit); got != 5<<20 {
		t.Errorf("%d bytes come back", got)
	}
	put("mp.run.s.spec", bomb(t, 100<<20), nats.Header{"Mp-Encoding": {"zstd"}})
	if _, err := c.Runs.Read(ctx, "s"); !errors.Is(err, jobs.ErrTooLarge) {
		t.Errorf("a specification of 100 MiB: %v", err)
	}
}

// TestRecordsBelongOnTheirSubjects: a record of another kind is noise in a
// cell, among the cancellations and behind the specification, and corrupt
// elsewhere.
func TestRecordsBelongOnTheirSubjects(t *testing.T) {
	t.Parallel()
	c, _, put := hostile(t)
	ctx := natstest.Within(t)
	natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "", 0, spec("r")))
	for _, rec := range []jobs.Record{{End: &jobs.End{Status: report.RunFailed}}, {Cancel: &jobs.Cancel{ID: "x"}}, spec("r"), {}} {
		body := natstest.Must[[]byte](t)(jobs.Marshal(&rec))
		put("mp.run.r.mod.m", body, nil)
		if last := natstest.Must[jobs.Entry](t)(c.Runs.Last(ctx, "r", "m")); last.Unread == nil {
			t.Errorf("it is read in a cell: %+v", last.Record)
		}
	}
	for _, bad := range [][]byte{nil, {1, 0xc1}, natstest.Must[[]byte](t)(jobs.Marshal(&jobs.Record{End: &jobs.End{Status: report.RunFailed}}))} {
		put("mp.run.r.cancel", bad, nil)
		if last := natstest.Must[jobs.Entry](t)(c.Runs.LastCancel(ctx, "r")); last.Unread == nil || last.Cell != "" {
			t.Errorf("it is read as a cancellation: %+v", last)
		}
	}
	second := spec("r")
	second.Spec.Commit = "another"
	for _, bad := range [][]byte{nil, natstest.Must[[]byte](t)(jobs.Marshal(&second))} {
		put("mp.run.r.spec", bad, nil)
	}
	if log := natstest.Must[[]jobs.Entry](t)(c.Runs.Read(ctx, "r")); len(log) != 10 {
		t.Errorf("%d entries", len(log))
	}
	if first := natstest.Must[*jobs.Spec](t)(c.Runs.Spec(ctx, "r")); first.Commit == "another" {
		t.Error("a second specification takes the place of the first")
	}
	if runs := natstest.Must[[]broker.RunRow](t)(c.Runs.List(ctx, broker.Page{})); len(runs) != 1 || runs[0].Problem != nil || runs[0].Commit == "another" {
		t.Errorf("runs: %+v", runs)
	}
	done := outcome()
	put("mp.run.r.end", natstest.Must[[]byte](t)(jobs.Marshal(&done)), nil)
	if _, err := c.Runs.Read(ctx, "r"); !errors.Is(err, jobs.ErrMalformed) {
		t.Errorf("an outcome as the end: %v", err)
	}
	other := spec("another")
	put("mp.run.s.spec", natstest.Must[[]byte](t)(jobs.Marshal(&other)), nil)
	if _, err := c.Runs.Read(ctx, "s"); !errors.Is(err, jobs.ErrMalformed) {
		t.Errorf("the specification of another run: %v", err)
	}
}

// TestUnreadableChunksAreSkipped: the others arrive, and each attempt
// gets one warning.
func TestUnreadableChunksAreSkipped(t *testing.T) {
	t.Parallel()
	c, log, put := hostile(t)
	ctx := natstest.Within(t)
	chunk := func(n int) jobs.LogChunk {
		return jobs.LogChunk{Writer: "w", Number: n, Parts: []jobs.LogPart{{Stream: jobs.Stdout, Data: []byte("line\n")}}}
	}
	id := jobs.AttemptID{Module: "m", Attempt: 1}
	natstest.Check(t, c.Logs.Append(ctx, "r", id, chunk(1)))
	newer := chunk(2)
	body := natstest.Must[[]byte](t)(jobs.Marshal(&newer))
	body[0] = jobs.Version + 1
	for _, bad := range []*nats.Msg{
		{Data: body, Header: nats.Header{"Nats-Msg-Id": {"mp.log.r.m.1.w.2"}}},
		{Data: nil},
		{Data: []byte{1, 0xc1}},
		{Data: []byte("text")},
		{Header: nats.Header{"Mp-Encoding": {"brotli"}}},
		{Header: nats.Header{"Mp-Blob": {strings.Repeat("0", 64)}}},
		{Header: nats.Header{"Mp-Blob": {"x"}}},
	} {
		put("mp.log.r.m.1", bad.Data, bad.Header)
		put("mp.log.r.m.2", bad.Data, bad.Header)
	}
	for _, subject := range []string{"mp.log.r.m.x", "mp.log.r.a.b.c.1", "mp.log.r.m.0", "mp.log.r.m.99999999999999999999"} {
		put(subject, nil, nil)
	}
	natstest.Check(t, c.Logs.Append(ctx, "r", id, chunk(3)))
	var read, skipped []int
	for range 2 {
		read, skipped = nil, nil
		natstest.Check(t, c.Logs.Read(ctx, "r", "", 0, func(e broker.LogEntry) error {
			if e.Unread == nil {
				read = append(read, e.Chunk.Number)
			} else if e.ID == id {
				skipped = append(skipped, e.Chunk.Number)
			}
			return nil
		}))
	}
	if fmt.Sprint(read) != "[1 3]" || fmt.Sprint(skipped) != "[2 0 0 0 0 0 0]" {
		t.Errorf("read %v, skipped %v", read, skipped)
	}
	if n := log.count("skipped unreadable output"); n != 2 {
		t.Errorf("%d warnings about two attempts", n)
	}
}

// TestJobsThatContradictTheirSubjectAreRefused: none is delivered, each is reported
// once, and those that no worker can execute leave the queue.
func TestJobsThatContradictTheirSubjectAreRefused(t *testing.T) {
	t.Parallel()
	c, log, put := hostile(t)
	ctx := natstest.Within(t)
	natstest.Check(t, c.Queue.EnsureLane(ctx, "any"))
	for i, change := range []func(*jobs.Job){
		func(j *jobs.Job) { j.Run = "another" },
		func(j *jobs.Job) { j.Module = "another" },
		func(j *jobs.Job) { j.Attempt = 2 },
		func(j *jobs.Job) { j.Attempt = -1 },
		func(j *jobs.Job) { j.Lane = "os_linux" },
	} {
		j := job(fmt.Sprint("m", i))
		subject := "mp.job.any.r." + string(j.Module) + ".1"
		change(j)
		put(subject, natstest.Must[[]byte](t)(jobs.Marshal(j)), nil)
	}
	put("mp.job.any.r.garbage.1", []byte{1, 0xc1}, nil)
	put("mp.job.any.r.long.1", bomb(t, 100<<20), nats.Header{"Mp-Encoding": {"zstd"}})
	put("mp.job.any.r.newer.1", []byte{jobs.Version + 1, 0x80}, nil)
	publish(t, ctx, c, job("good"))
	delivered := pull(t, c, "any", 4)
	if d := natstest.Receive(t, ctx, delivered); d.Job.Name != "good" {
		t.Errorf("%s is delivered", d.Job.Name)
	}
	for {
		list := natstest.Must[[]broker.QueuedJob](t)(c.Queue.List(ctx))
		if len(list) == 2 && log.count("refused a job") == 7 && log.count("of a newer version") == 1 {
			return // that, and the one that is delivered
		}
		select {
		case d := <-delivered:
			t.Fatalf("%s is delivered", d.Job.Name)
		case <-ctx.Done():
			t.Fatalf("%d jobs are left, %d refused", len(list), log.count("refused a job"))
		default:
			runtime.Gosched()
		}
	}
}
