//go:build linux

package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

func TestFileThatCannotBeStartedSaysWhy(t *testing.T) {
	for _, tc := range []struct {
		name, content string
		want          []string
	}{
		{"carriage return", "#!/bin/sh\r\necho hi\r\n", []string{"carriage return", `\r`, "/bin/sh", "dos2unix"}},
		{"carriage return after an argument", "#!/bin/sh -e\r\nexit 0\r\n", []string{"exit code", "first line", "carriage return"}},
		{"carriage return after env", "#!/usr/bin/env sh\r\nexit 0\r\n", []string{"exit code 127", "first line", "carriage return"}},
		{"unknown interpreter", "#!/no/such/interpreter -x\necho hi\n", []string{"interpreter /no/such/interpreter,", "first line", "does not exist", "/usr/bin/env"}},
		{"interpreter is a directory", "#! /usr/bin\n", []string{"interpreter /usr/bin,", "is a directory"}},
		{"interpreter is not executable", "#!/etc/passwd\n", []string{"/etc/passwd", "not executable"}},
		{"no interpreter", "#!\necho hi\n", []string{"names no interpreter", "#!/bin/sh"}},
		{"no first line", "echo hi\n", []string{"names no interpreter", "#!/bin/sh"}},
		{"empty", "", []string{"the file is empty"}},
		{"byte order mark", "\uFEFF#!/bin/sh\necho hi\n", []string{"byte order mark", "without"}},
		{"another architecture", "\x7fELF\x02\x01\x01", []string{"another system or architecture"}},
		{"another system", "MZ\x90\x00\x03", []string{"another system or architecture"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			job := &jobs.Job{Command: &jobs.CommandJob{Args: []string{"./tool"}}}
			e, _ := execute(t, job, func(c *setting) {
				if err := os.WriteFile(filepath.Join(c.dir, "tool"), []byte(tc.content), 0o755); err != nil {
					t.Fatal(err)
				}
			})
			if e.Status != report.AttemptFailed || strings.HasPrefix(e.Error, "exit code") == e.Started.IsZero() {
				t.Errorf("ended %s, %q", e.Status, e.Error)
			}
			for _, w := range tc.want {
				if !strings.Contains(e.Error, w) {
					t.Errorf("%q does not say %q", e.Error, w)
				}
			}
		})
	}
}

func TestEnvironmentThatIsTooLargeInSumNamesTheLargest(t *testing.T) {
	job := script("true")
	for i := range 80 {
		job.Command.Env = append(job.Command.Env, pipeline.KeyValue{Key: fmt.Sprintf("V%02d", i), Value: strings.Repeat("z", 100_000+i)})
	}
	e, _ := execute(t, job)
	for _, want := range []string{`cannot start "sh"`, "environment", "V79 (100079 bytes), V78 (100078 bytes), V77 (100077 bytes)", "stdin", "file"} {
		if !strings.Contains(e.Error, want) {
			t.Errorf("%q does not say %q", e.Error, want)
		}
	}
	if e.Status != report.AttemptFailed || e.Unable {
		t.Errorf("ended %s, unable %v", e.Status, e.Unable)
	}
}

func TestRunWithCarriageReturnsSaysSo(t *testing.T) {
	if e, _ := execute(t, script("cd .\r\nfalse\r\n")); !strings.Contains(e.Error, "exit code") || !strings.Contains(e.Error, "carriage return") {
		t.Errorf("ended %s, %q", e.Status, e.Error)
	}
}
