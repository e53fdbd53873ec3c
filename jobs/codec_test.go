package jobs

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var noon = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// The messages of the golden files: every field that crosses a boundary.
func records() map[string]Record {
	return map[string]Record{
		"spec": {Spec: &Spec{
			Run: "r1", Env: []pipeline.KeyValue{{Key: "A", Value: "1"}}, Labels: map[string]string{"k": "v"}, StartedBy: "me@here", Commit: "abc", Trace: "00-1",
			Pipeline: &pipeline.Pipeline{
				Name: "p", Params: map[string]any{"n": 3.0}, Limits: map[string]int{"db": 2}, Families: map[string][]int{"build": {0}},
				Modules: []*pipeline.Module{{
					Name: "build (os=linux)", Token: "build-1", Family: "build", Matrix: []pipeline.Coordinate{{Axis: "os", Value: "linux"}},
					Command: &pipeline.Command{Run: "make", Shell: "sh"}, Slots: 1,
					Policy: pipeline.Policy{Timeout: time.Hour, Retry: pipeline.Retry{Attempts: 2, Delay: time.Second}, Priority: pipeline.Low},
				}, {
					Name: "test", Token: "test", Func: &pipeline.Func{Name: "test"}, Slots: 1,
					Needs: []pipeline.Need{{Module: "build", Use: pipeline.Reads}, {Module: "lint", Optional: true, Same: []string{"os"}}},
				}},
			},
		}},
		"spec-cluster": {Spec: &Spec{Run: "r1", Pipeline: &pipeline.Pipeline{
			Name: "p", Limits: map[string]int{"l": 2}, ClusterLimits: []string{"l"},
			Modules: []*pipeline.Module{{Name: "m", Token: "m", Slots: 1, Policy: pipeline.Policy{Keys: []string{"a", "k"}, ClusterKeys: []string{"k"}, Limits: []string{"l"}}}},
		}}},
		"spec-origin": {Spec: &Spec{
			Run: "r1", Pipeline: &pipeline.Pipeline{Name: "p"},
			Origin: &Origin{
				File: "p.yaml", Text: []byte("name: p"), Program: &pipeline.Program{Name: "release", Build: "b", Graph: "g"}, Narrowed: true,
				Params: map[string]string{"n": "3"}, Env: map[string]string{"N": "3"},
				Selection: pipeline.Selection{Only: []string{"a"}, Category: []string{"b"}, Skip: []string{"c"}, SkipCategory: []string{"d"}, NoNeeds: true},
			},
		}},
		"claim": {Claim: &Claim{Attempt: 2, Worker: "w", Incarnation: "i", Nonce: "n", Started: noon}},
		"outcome": {Outcome: &Outcome{
			Attempt: 2, Status: report.AttemptFailed, Worker: "w", Incarnation: "i", Nonce: "n", By: "o", ExitCode: new(0), Error: "it broke", Reason: "because",
			Outputs: OutputsOf(map[string]string{"k": "v"}), Started: noon, Finished: noon.Add(time.Second), LogChunks: 3, Permanent: true,
			RetryAfter: time.Minute, NoWorker: true, Warnings: []string{"careful"},
		}},
		"outcome-blob":  {Outcome: &Outcome{Attempt: 1, Status: report.AttemptSucceeded, Outputs: Value{Ref: Blob{SHA256: strings.Repeat("ab", 32), Bytes: 1 << 40}}}},
		"outcome-place": {Outcome: &Outcome{Attempt: 1, Status: report.AttemptSucceeded, Place: "host:/home/me/shop"}},
		"outcome-cached": {Outcome: &Outcome{
			Status: report.AttemptSucceeded, Outputs: OutputsOf(map[string]string{"k": "v"}), Hermetic: true,
			Artifacts: []Artifact{{Name: "bin", Tree: Tree{Root: "ab", Manifest: "cd", Namespace: "main", Files: 1, Bytes: 2, Time: noon}}},
			Cached: &Cached{
				Fingerprint: strings.Repeat("ab", 32), Namespace: "main", Run: "r0", Module: "build", Attempt: 2, By: "me@here", When: noon,
				Log: Blob{SHA256: strings.Repeat("cd", 32), Bytes: 9},
			},
		}},
		"takeover":     {Takeover: &Takeover{Epoch: 7, Orchestrator: "o"}},
		"takeover-key": {Takeover: &Takeover{Epoch: 7, Orchestrator: "o", Key: "0123456789abcdef"}},
		"rejected":     {Rejected: &Rejected{Sequences: []uint64{7, 1 << 40}}},
		"spec-secrets": {Spec: &Spec{Run: "r1", Pipeline: &pipeline.Pipeline{Name: "p", Modules: []*pipeline.Module{{
			Name: "m", Token: "m", Slots: 1, Secrets: []pipeline.Secret{{Env: "A", Name: "A"}},
		}}}}},
		"claim-xkey": {Claim: &Claim{Attempt: 2, Worker: "w", Incarnation: "i", Nonce: "n", Started: noon, XKey: "XA"}},
		"released":   {Released: &Released{Module: "m", Attempt: 1, Worker: "w", Nonce: "n", Names: []string{"A", "b"}}},
		"grant":      {Grant: &Grant{}},
		"expansion":  {Expansion: &Expansion{Module: "test", Combinations: [][]pipeline.Coordinate{{{Axis: "shard", Value: "1"}}, {}}}},
		"nobody":     {Nobody: &LaneUnserved{Lane: "any", Served: true}},
		"cancel":     {Cancel: &Cancel{ID: "c", By: "me", Reason: "why", Deadline: true}},
		"end":        {End: &End{Status: report.RunFailed, Error: "build failed"}},
	}
}

func fullJob() Job {
	return Job{
		Run: "r1", Pipeline: "p", Module: "build-1", Name: "build (os=linux)", Attempt: 2, Lane: "os_linux", Slots: 2, Keyed: true, Fence: 1 << 40, Epoch: 7,
		StoreBy: noon, MaybeDuplicate: true, Matrix: []pipeline.Coordinate{{Axis: "os", Value: "linux"}},
		Command: &CommandJob{Run: "make", Shell: "sh", Args: []string{"a"}, Dir: "d", Env: []pipeline.KeyValue{{Key: "A", Value: "1"}}, PassEnv: []string{"PATH"}, Stdin: "in"},
		Timeout: time.Hour, DefaultTimeout: true, Grace: 10 * time.Second, Trace: "00-1",
		Needs: map[string]Need{"get": {Status: "succeeded", Outputs: OutputsOf(map[string]string{"k": "v"}), Members: []Member{{Status: "failed", Matrix: []pipeline.Coordinate{{Axis: "x", Value: "1"}}}}}},
	}
}

func sealed() SealedSecrets {
	return SealedSecrets{Run: "r1", Module: "m", Attempt: 1, Nonce: "n", Sealed: []byte{1, 2}, Lacks: "why"}
}

func chunk() LogChunk {
	return LogChunk{Number: 3, Time: noon, Parts: []LogPart{{Stream: Stdout, Data: []byte("out\n")}, {Stream: Stderr, Data: []byte{0xff, 0}}}}
}

func someWorker() WorkerInfo {
	return WorkerInfo{
		Name: "w", Incarnation: "i", Version: "1.0", Slots: 8, Used: 2, Running: []RunningEntry{{Run: "r1", Module: "m", Attempt: 1}}, Draining: true,
		LanesSeen: 9, Started: noon, PID: 1, Host: "h", Load: 0.5,
		Capabilities: Capabilities{OS: "linux", Arch: "amd64", CPUs: 8, Memory: 1 << 34, Tools: map[string]string{"go": "1.26"}, Tags: []string{"gpu"}, Labels: map[string]string{"zone": "a"}},
	}
}

func someEntry() CacheEntry {
	return CacheEntry{
		Fingerprint: strings.Repeat("ab", 32), Run: "r1", Pipeline: "p", Module: "build", Attempt: 2, By: "me@here", Worker: "w", When: noon, Took: time.Second,
		Outputs: OutputsOf(map[string]string{"k": "v"}), Artifacts: []Artifact{{Name: "bin", Tree: Tree{Root: "ab", Manifest: "cd"}}},
		Log: Blob{SHA256: strings.Repeat("cd", 32), Bytes: 9}, Tools: map[string]string{"go": "1.26"},
		Parts:  []Part{{Name: "env", Digest: []byte{1}, Items: []PartItem{{Name: "A", Digest: []byte{2}}}}},
		Inputs: Tree{Root: "ef"}, Hermetic: true, Place: "here", Differs: "output k",
	}
}

func TestGolden(t *testing.T) {
	for name, r := range records() {
		golden(t, "record-"+name, r)
	}
	golden(t, "job", fullJob())
	golden(t, "job-key", Job{Run: "r1", Module: "m", Attempt: 1, Lane: "any", Slots: 1, Key: []byte{1, 2, 3}})
	golden(t, "job-least", Job{Run: "r1", Module: "m", Attempt: 1, Lane: "any", Slots: 1})
	golden(t, "control-probe", Control{Probe: &Probe{Run: "r1", Module: "m", Attempt: 1, Incarnation: "i", Nonce: "n", Sequence: 7, Key: []byte{1, 2, 3}}})
	golden(t, "logchunk", chunk())
	golden(t, "worker", someWorker())
	golden(t, "laneset", LaneSet{Requires: pipeline.Requirements{OS: "linux", Tools: []pipeline.Tool{{Name: "go", Min: "1.26"}}, Memory: 1 << 30}, Slots: 2})
	golden(t, "control-cancel", Control{Cancel: &CancelAttempt{Module: "m", Attempt: 1, Kill: true, Reason: "why"}})
	golden(t, "control-drain", Control{Drain: &Drain{By: "me"}})
	golden(t, "lock", LockEntry{Name: "db", Limit: true, Holders: []Holder{{Run: "r1", Module: "m", Attempt: 2, Epoch: 7}}})
	golden(t, "cache-entry", someEntry())
	golden(t, "cache-index", CacheIndex{Pipeline: "p", Module: "build", Recent: []RecentPrint{{Fingerprint: "ab", When: noon}}})
	golden(t, "cache-dir-entry", CacheDirEntry{Name: "mod", Key: "go-1", Run: "r1", Module: "build", When: noon, Tree: Tree{Root: "ab", Manifest: "cd"}})
	golden(t, "cache-dir-index", CacheDirIndex{Name: "mod", Recent: []RecentDir{{Key: "go-1", Restore: []string{"go-"}, When: noon}}})
	golden(t, "attempted", Attempted{Failed: noon, Succeeded: noon, Run: "r1", Attempt: 2, Status: report.AttemptFailed})
	golden(t, "job-secrets", Job{Run: "r1", Module: "m", Attempt: 1, Lane: "any", Slots: 1, Secrets: []pipeline.Secret{{Env: "CERT", Name: "cert", File: true, FromWorker: true, AllowShort: true}}})
	golden(t, "laneset-secrets", LaneSet{Requires: pipeline.Requirements{Secrets: []string{"db"}}, Slots: 1})
	golden(t, "sealed-secrets", sealed())
	golden(t, "question-received", Question{Worker: "w", Module: "m", Attempt: 1, Nonce: "n", Received: true})
	golden(t, "durations", Durations{Took: map[string]time.Duration{"m": time.Second}})
}

// golden holds that a message is encoded as the file says and that the file
// still means the message: what an older build has written stays readable.
func golden[M Message](t *testing.T, name string, m M) {
	t.Helper()
	data, err := Marshal(&m)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "golden", name+".hex")
	if *update {
		if err := os.WriteFile(file, []byte(hex.EncodeToString(data)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, data); diff != "" {
		t.Errorf("%s is encoded otherwise (run with -update when a change is meant, and old messages stay readable):\n%s", name, diff)
	}
	got, err := Unmarshal[M](want)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if diff := cmp.Diff(m, got); diff != "" {
		t.Errorf("%s:\n%s", name, diff)
	}
}

func TestDecoderSkipsWhatItDoesNotKnow(t *testing.T) {
	body, err := msgpack.Marshal(map[string]any{"run": "r", "attempt": 3, "invented_later": []any{1, map[string]any{"x": nil}}})
	if err != nil {
		t.Fatal(err)
	}
	job, err := Unmarshal[Job](append([]byte{Version}, body...))
	if err != nil || job.Run != "r" || job.Attempt != 3 {
		t.Errorf("%+v, %v", job, err)
	}
}

func TestDecoderRefuses(t *testing.T) {
	good, err := Marshal(new(chunk()))
	if err != nil {
		t.Fatal(err)
	}
	with := func(b []byte, change func([]byte)) []byte {
		c := append([]byte(nil), b...)
		change(c)
		return c
	}
	nested := append([]byte{Version}, make([]byte, 1000)...)
	for i := range 1000 {
		nested[1+i] = 0x91
	}
	tests := []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, ErrMalformed},
		{"a newer version", with(good, func(b []byte) { b[0] = Version + 1 }), ErrNewer},
		{"text", []byte("hello"), ErrNewer},
		{"no version", good[1:], ErrMalformed},
		{"half of it", good[:len(good)/2], ErrMalformed},
		{"more than it", append(with(good, func([]byte) {}), 0), ErrMalformed},
		{"a huge map", []byte{Version, 0xdf, 0xff, 0xff, 0xff, 0xff}, ErrMalformed},
		{"a huge text", []byte{Version, 0x81, 0xa1, 'n', 0xdb, 0xff, 0xff, 0xff, 0xff}, ErrMalformed},
		{"deep nesting", nested, ErrMalformed},
		{"another shape", []byte{Version, 0x81, 0xa1, 'n', 0xa1, 'x'}, ErrMalformed},
		{"too long", make([]byte, MaxMessage+1), ErrMalformed},
	}
	for _, tt := range tests {
		if _, err := Unmarshal[LogChunk](tt.data); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestTimesAreInUTC(t *testing.T) {
	r := Record{Outcome: &Outcome{Attempt: 1, Started: noon.In(time.FixedZone("", 3600))}}
	data, err := Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Unmarshal[Record](data)
	if err != nil {
		t.Fatal(err)
	}
	if o := got.Outcome; o.Started.Location() != time.UTC || !o.Started.Equal(noon) || o.Finished != (time.Time{}) {
		t.Errorf("started %v, finished %v", o.Started, o.Finished)
	}
}

func TestOutputsHaveOneEncoding(t *testing.T) {
	values := map[string]string{}
	for k := range strings.FieldsSeq("a b c d e f g h i j k l m n o p") {
		values[k] = strings.Repeat(k, 100)
	}
	first := OutputsOf(values).Stored()
	for range 20 {
		if again := OutputsOf(values).Stored(); string(again) != string(first) {
			t.Fatal("another encoding")
		}
	}
	got, err := outputsIn(first)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(values, got); diff != "" {
		t.Error(diff)
	}
}

// fuzz holds that decoding never panics, and that what decodes encodes to
// something that means the same.
func fuzz[M Message](f *testing.F, seeds ...M) {
	f.Helper()
	for _, s := range seeds {
		data, err := Marshal(&s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Unmarshal[M](data)
		if err != nil {
			return
		}
		again, err := Marshal(&m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Unmarshal[M](again)
		if err != nil {
			t.Fatalf("%x → %x: %v", data, again, err)
		}
		once, err := Marshal(&got)
		if err != nil {
			t.Fatal(err)
		}
		if len(once) != len(again) { // maps have no order
			t.Fatalf("%x → %x → %x", data, again, once)
		}
	})
}

func FuzzRecord(f *testing.F) {
	var seeds []Record
	for _, r := range records() {
		seeds = append(seeds, r)
	}
	fuzz(f, seeds...)
}

func FuzzCacheEntry(f *testing.F)    { fuzz(f, someEntry(), CacheEntry{}) }
func FuzzCacheIndex(f *testing.F)    { fuzz(f, CacheIndex{Pipeline: "p", Recent: []RecentPrint{{}}}) }
func FuzzCacheDirEntry(f *testing.F) { fuzz(f, CacheDirEntry{Name: "mod", Key: "go-1"}) }
func FuzzCacheDirIndex(f *testing.F) {
	fuzz(f, CacheDirIndex{Name: "mod", Recent: []RecentDir{{Key: "go-1"}}})
}
func FuzzAttempted(f *testing.F) { fuzz(f, Attempted{Run: "r1", Attempt: 1}) }

func FuzzJob(f *testing.F)      { fuzz(f, fullJob(), Job{}) }
func FuzzLogChunk(f *testing.F) { fuzz(f, chunk()) }
func FuzzWorker(f *testing.F)   { fuzz(f, someWorker()) }
func FuzzLaneSet(f *testing.F) {
	fuzz(f, LaneSet{Requires: pipeline.Requirements{OS: "linux", Tools: []pipeline.Tool{{Name: "go", Min: "1.26"}}}, Slots: 2}, LaneSet{})
}

func FuzzSealedSecrets(f *testing.F) { fuzz(f, sealed(), SealedSecrets{}) }

func FuzzLease(f *testing.F) {
	fuzz(f, RunLease{Holder: "a", Instance: "b", Epoch: 3, Problem: "p"}, RunLease{})
}

func FuzzLockEntry(f *testing.F) {
	fuzz(f, LockEntry{Name: "db", Limit: true, Holders: []Holder{{Run: "r1", Module: "m", Attempt: 2, Epoch: 7}}}, LockEntry{})
}

func FuzzDurations(f *testing.F) {
	fuzz(f, Durations{Took: map[string]time.Duration{"m": time.Second}}, Durations{})
}

// FuzzCell: a record in a module's cell may have less than others.
func FuzzCell(f *testing.F) {
	for _, r := range records() {
		data, err := Marshal(&r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := UnmarshalRecord(data, MaxSmall)
		if err != nil {
			return
		}
		short := rec.Shortened()
		if _, err := Marshal(&short); err != nil {
			t.Fatal(err)
		}
	})
}

// outputsIn are outputs that the object store has.
func outputsIn(stored []byte) (map[string]string, error) {
	v, err := Value{Ref: Blob{SHA256: "digest"}}.Loaded(stored)
	if err != nil {
		return nil, err
	}
	return v.Outputs()
}

func FuzzOutputs(f *testing.F) {
	f.Add([]byte{Version, 0x81, 0xa1, 'a', 0xa1, 'b'})
	f.Add([]byte{Version, 0xc7, 5, 1, 0xdf, 0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := outputsIn(data)
		if err != nil {
			return
		}
		if again, err := OutputsOf(m).Outputs(); err != nil || !maps.Equal(again, m) {
			t.Fatal(again, err)
		}
	})
}

// FuzzResult: a decoded value is one that JSON can hold, except NaN and infinities.
func FuzzResult(f *testing.F) {
	for _, seed := range [][]byte{
		{0x81, 0xa1, 'a', 0x93, 1, 2, 3}, {0xd6, 0xff, 0, 0, 0, 0}, {0x81, 0x90, 0xc3}, {0x81, 0x80, 0xc3}, {0x81, 0xc4, 0, 0xc3}, {0xdf, 0x7f, 0xff, 0xff, 0xff},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := ResultOf(data).Result()
		if err != nil {
			return
		}
		if _, err := json.Marshal(v); err != nil && !strings.Contains(err.Error(), "unsupported value") {
			t.Fatalf("%#v: %v", v, err)
		}
	})
}

func FuzzControl(f *testing.F) { fuzz(f, Control{Drain: &Drain{By: "me"}}) }

func BenchmarkMarshalJob(b *testing.B) {
	j := fullJob()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Marshal(&j); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshalJob(b *testing.B) {
	data, err := Marshal(new(fullJob()))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Unmarshal[Job](data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	r := Record{Outcome: &Outcome{Attempt: 1, Status: report.AttemptSucceeded, Worker: "w", Incarnation: "i", Nonce: "n", ExitCode: new(0), Started: noon, Finished: noon}}
	b.ReportAllocs()
	for b.Loop() {
		data, err := Marshal(&r)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Unmarshal[Record](data); err != nil {
			b.Fatal(err)
		}
	}
}
