package fingerprint_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/modpipe/modpipe/internal/fingerprint"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// a draws an input of which every part has a value.
func a(t *rapid.T) fingerprint.Input {
	text := func(label string) string { return rapid.StringN(0, 8, -1).Draw(t, label) }
	root := strings.Repeat(rapid.SampledFrom([]string{"0a", "1b"}).Draw(t, "root"), 32)
	m := &pipeline.Module{
		Name: text("name"), Token: text("token"), Outputs: []string{"o"},
		Requires: pipeline.Requirements{
			OS: "linux", Arch: "amd64", Tools: []pipeline.Tool{{Name: "go", Min: "1.2"}}, Tags: []string{"big"},
			Labels: []pipeline.KeyValue{{Key: "zone", Value: "a"}}, Program: &pipeline.Program{Name: "p", Build: "b", Graph: "g"},
		},
		Produce: []pipeline.Produce{{Name: "bin", Paths: []string{"bin/**"}}},
		Consume: []pipeline.Consume{{Name: "gen", From: "generate"}},
		Secrets: []pipeline.Secret{{Env: "TOKEN", Name: "npm-token"}, {Env: "CERT", Name: "cert"}},
		Cache:   &pipeline.Cache{Inputs: []string{"**/*.go"}},
	}
	return fingerprint.Input{
		Module: m, Key: []string{text("key")}, Inputs: root,
		Job: &jobs.Job{
			Run: "r1", Module: "m", Name: m.Name, Attempt: 1, Lane: "any", Matrix: []pipeline.Coordinate{{Axis: "os", Value: text("os")}},
			Command: &jobs.CommandJob{
				Run: text("run"), Shell: "sh", Args: []string{text("arg")}, Dir: text("dir"), Stdin: text("stdin"),
				Env: []pipeline.KeyValue{{Key: "A", Value: text("A")}, {Key: "B", Value: text("B")}}, PassEnv: []string{"HOME"},
			},
			Func:  &jobs.FuncJob{Name: "f", With: map[string]string{"w": text("with")}, Params: map[string]any{"n": int64(1)}},
			Needs: map[string]jobs.Need{"get": {Status: report.Succeeded, Outputs: jobs.OutputsOf(map[string]string{"k": text("output")})}},
			Files: &jobs.JobFiles{Restore: []jobs.Restore{{Artifact: jobs.Artifact{Name: "gen", Tree: jobs.Tree{Root: root}}, Module: "generate"}}},
		},
	}
}

// covered are changes of a part, by the name of the part.
var covered = map[string]func(*fingerprint.Input){
	"command":   func(in *fingerprint.Input) { in.Job.Command.Args = append(in.Job.Command.Args, "more") },
	"shell":     func(in *fingerprint.Input) { in.Job.Command.Shell = "bash" },
	"dir":       func(in *fingerprint.Input) { in.Job.Command.Dir += "x" },
	"stdin":     func(in *fingerprint.Input) { in.Job.Command.Stdin += "x" },
	"env":       func(in *fingerprint.Input) { in.Job.Command.Env[1].Value += "x" },
	"pass-env":  func(in *fingerprint.Input) { in.Job.Command.PassEnv = []string{"HOME", "USER"} },
	"with":      func(in *fingerprint.Input) { in.Job.Func.With["w"] += "x" },
	"secrets":   func(in *fingerprint.Input) { in.Module.Secrets[0].Name = "other" },
	"outputs":   func(in *fingerprint.Input) { in.Module.Outputs = []string{"p"} },
	"produce":   func(in *fingerprint.Input) { in.Module.Produce[0].When = pipeline.Always },
	"consume":   func(in *fingerprint.Input) { in.Module.Consume[0].To = "elsewhere" },
	"os":        func(in *fingerprint.Input) { in.Module.Requires.OS = "windows" },
	"arch":      func(in *fingerprint.Input) { in.Module.Requires.Arch = "arm64" },
	"tools":     func(in *fingerprint.Input) { in.Module.Requires.Tools[0].Min = "1.3" },
	"tags":      func(in *fingerprint.Input) { in.Module.Requires.Tags = nil },
	"labels":    func(in *fingerprint.Input) { in.Module.Requires.Labels[0].Value = "b" },
	"matrix":    func(in *fingerprint.Input) { in.Job.Matrix[0].Value += "x" },
	"inputs":    func(in *fingerprint.Input) { in.Inputs = strings.Repeat("2c", 32) },
	"artifacts": func(in *fingerprint.Input) { in.Job.Files.Restore[0].Tree.Root = strings.Repeat("2c", 32) },
	"needs": func(in *fingerprint.Input) {
		in.Job.Needs["get"] = jobs.Need{Status: report.Succeeded, Outputs: jobs.OutputsOf(map[string]string{"k": "another output"})}
	},
	"key":     func(in *fingerprint.Input) { in.Key[0] += "x" },
	"program": func(in *fingerprint.Input) { in.Module.Requires.Program.Build = "c" },
	"params":  func(in *fingerprint.Input) { in.Job.Func.Params["n"] = int64(2) },
}

func TestEveryPartChangesTheFingerprint(t *testing.T) {
	for part, change := range covered {
		t.Run(part, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				in := a(t)
				before := fingerprint.Of(in)
				change(&in)
				after := fingerprint.Of(in)
				if before.Sum == after.Sum {
					t.Fatal("the fingerprint is the same")
				}
				for _, d := range fingerprint.Compare(before.Parts, after.Parts) {
					if d.Part != part {
						t.Errorf("part %s differs too", d.Part)
					}
				}
			})
		})
	}
}

func TestEveryPartIsChangedInTests(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, p := range fingerprint.Of(a(t)).Parts {
			if _, ok := covered[p.Name]; !ok && p.Name != "format" {
				t.Errorf("no change of %s is tried", p.Name)
			}
		}
	})
}

// TestOtherThingsDoNotChangeTheFingerprint lists what a result cannot depend on.
func TestOtherThingsDoNotChangeTheFingerprint(t *testing.T) {
	for name, change := range map[string]func(*fingerprint.Input){
		"names": func(in *fingerprint.Input) {
			in.Module.Name, in.Module.Token, in.Job.Name, in.Job.Module, in.Job.Run = "x", "y", "x", "y", "another-run"
			in.Module.Family, in.Module.Description, in.Module.Category = "f", "d", "c"
		},
		"how it is run": func(in *fingerprint.Input) {
			in.Job.Attempt, in.Job.Lane, in.Job.Slots, in.Job.Fence, in.Job.Epoch, in.Job.Trace = 3, "other", 4, 9, 2, "00-1"
			in.Job.Timeout, in.Job.Grace, in.Job.StoreBy = time.Hour, time.Minute, time.Now()
			in.Module.Policy = pipeline.Policy{Priority: pipeline.High, Retry: pipeline.Retry{Attempts: 3}, Timeout: time.Hour, Keys: []string{"k"}}
			in.Module.Requires.CPUs, in.Module.Requires.Memory = 4, 1<<30
		},
		"where files are stored": func(in *fingerprint.Input) {
			in.Job.Files.Restore[0].Tree.Manifest, in.Job.Files.Restore[0].Tree.Namespace, in.Job.Files.Namespace = "m", "n", "o"
			in.Job.Files.Restore[0].Tree.Time = time.Now()
		},
		"the order of secrets":   func(in *fingerprint.Input) { slices.Reverse(in.Module.Secrets) },
		"the order of variables": func(in *fingerprint.Input) { slices.Reverse(in.Job.Command.Env) },
		"a variable that another hides": func(in *fingerprint.Input) {
			in.Job.Command.Env = append([]pipeline.KeyValue{{Key: "A", Value: "hidden"}}, in.Job.Command.Env...)
		},
		"a need that was cached": func(in *fingerprint.Input) {
			need := in.Job.Needs["get"]
			need.Status, need.Reason = report.Cached, "from run r0"
			in.Job.Needs["get"] = need
		},
		"the graph of the program": func(in *fingerprint.Input) { in.Module.Requires.Program.Graph = "other" },
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				in := a(t)
				before := fingerprint.Of(in).Sum
				change(&in)
				if fingerprint.Of(in).Sum != before {
					t.Fatal("the fingerprint differs")
				}
			})
		})
	}
}

// TestTextsKeepTheirBounds: moving a character from one argument to the next one
// is a different command.
func TestTextsKeepTheirBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := a(t)
		x, y := rapid.StringN(1, 4, -1).Draw(t, "x"), rapid.StringN(1, 4, -1).Draw(t, "y")
		in.Job.Command.Args = []string{x + y, ""}
		joined := fingerprint.Of(in).Sum
		in.Job.Command.Args = []string{x, y}
		if fingerprint.Of(in).Sum == joined {
			t.Fatal("the fingerprint is the same")
		}
	})
}

func TestCompareNamesTheVariable(t *testing.T) {
	in := fingerprint.Input{Module: &pipeline.Module{}, Job: &jobs.Job{Command: &jobs.CommandJob{Env: []pipeline.KeyValue{{Key: "A", Value: "1"}, {Key: "B", Value: "1"}}}}}
	before := fingerprint.Of(in)
	in.Job.Command.Env = []pipeline.KeyValue{{Key: "A", Value: "2"}, {Key: "C", Value: "1"}}
	got := fingerprint.Compare(before.Parts, fingerprint.Of(in).Parts)
	want := []fingerprint.Difference{{"env", "A", fingerprint.Changed}, {"env", "C", fingerprint.Added}, {"env", "B", fingerprint.Removed}}
	if !slices.Equal(got, want) {
		t.Errorf("differences are %v, want %v", got, want)
	}
}
