package process

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/modpipe/modpipe/jobs"
)

// startError explains why the system refused to start a command. The error of the
// system is often about another file, or about a sum.
func startError(cmd *exec.Cmd, err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		err = pe.Err
	}
	if errors.Is(err, syscall.E2BIG) {
		return fmt.Errorf("cannot start %q: %s: %w", cmd.Args[0], tooLarge(cmd), err)
	}
	if why := fileFault(cmd.Path, err); why != "" {
		return fmt.Errorf("cannot start %q (%s): %s", cmd.Args[0], cmd.Path, why)
	}
	return fmt.Errorf("cannot start %q (%s): %w", cmd.Args[0], cmd.Path, err)
}

// mostLargest is how many variables an error names.
const mostLargest = 3

// tooLarge names the largest parts of the environment and the words of a command.
func tooLarge(cmd *exec.Cmd) string {
	env := slices.Clone(cmd.Env)
	slices.SortStableFunc(env, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var largest []string
	for _, kv := range env[:min(len(env), mostLargest)] {
		name, value, _ := strings.Cut(kv, "=")
		largest = append(largest, fmt.Sprintf("%s (%d bytes)", name, len(value)))
	}
	return fmt.Sprintf("its environment (%d bytes in %d variables) and its words (%d bytes) are too large in sum; the largest variables are %s: hand large values over by stdin or in a file",
		sum(cmd.Env), len(cmd.Env), sum(cmd.Args), strings.Join(largest, ", "))
}

// sum is the size of texts, each with the zero byte that ends it.
func sum(texts []string) int {
	total := 0
	for _, t := range texts {
		total += len(t) + 1
	}
	return total
}

// maxFirstLine is how many bytes of a first line are read to find an interpreter.
const maxFirstLine = 4 << 10

var byteOrderMark = []byte("\uFEFF")

// fileFault explains from the content of a file why it cannot be started; empty when
// the content does not tell.
func fileFault(path string, err error) string {
	head, readErr := headOf(path)
	if readErr != nil {
		return ""
	}
	_, marked := bytes.CutPrefix(head, byteOrderMark)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission):
		return interpreterFault(path, head, err)
	case !errors.Is(err, syscall.ENOEXEC):
		return ""
	case len(head) == 0:
		return "the file is empty"
	case marked:
		return "the file begins with a byte order mark, so that the system does not find #! there: save it without (UTF-8 without BOM)"
	case bytes.HasPrefix(head, []byte("#!")):
		return "its first line, " + quoted(head) + ", names no interpreter: begin the file with #!/bin/sh"
	case bytes.HasPrefix(head, []byte("\x7fELF")) || bytes.IndexByte(head, 0) >= 0:
		return "the file is a program for another system or architecture, or is damaged"
	}
	return "the file is no program of this system and its first line names no interpreter: begin it with #!/bin/sh, or start it by `run: sh FILE`"
}

// interpreterFault is about the program that a file needs: the interpreter in its
// first line, or the loader of its libraries.
func interpreterFault(path string, head []byte, err error) string {
	name, ok := interpreterOf(head)
	if !ok {
		name = loaderOf(path)
		if name == "" {
			return ""
		}
		return fmt.Sprintf("it needs the loader %s, which does not exist here: the program was built for another system", name)
	}
	if endsInReturn(head) {
		return fmt.Sprintf("the first line, %s, ends in a carriage return (\\r), so that the system looks for the interpreter %q: write the file with the line ends of Unix (dos2unix; in git: `*.sh text eol=lf` in .gitattributes)", quoted(head), name)
	}
	info, statErr := os.Stat(name)
	switch {
	case name == "":
		return "its first line, " + quoted(head) + ", names no interpreter: begin the file with #!/bin/sh"
	case errors.Is(statErr, fs.ErrNotExist):
		return fmt.Sprintf("its interpreter %s, named in its first line, does not exist: install it, or write `#!/usr/bin/env NAME` to find it on PATH", name)
	case statErr == nil && info.IsDir():
		return fmt.Sprintf("its interpreter %s, named in its first line, is a directory", name)
	case statErr == nil && info.Mode()&0o111 == 0:
		return fmt.Sprintf("its interpreter %s, named in its first line, is not executable", name)
	}
	return fmt.Sprintf("its interpreter %s, named in its first line, cannot be started: %v", name, err)
}

// lineEndFault is a possible cause of a failure of a script with the line ends of
// Windows: its interpreter or its commands have a carriage return in their names.
func lineEndFault(path string, job *jobs.CommandJob) string {
	if job != nil && job.Run != "" && job.Shell != "pwsh" && job.Shell != "python" {
		if strings.Contains(job.Run, "\r\n") {
			return ": the lines of run end in carriage returns (\\r), which the shell takes for a part of the last word: write them with the line ends of Unix"
		}
		return ""
	}
	head, err := headOf(path)
	if err != nil || !bytes.HasPrefix(head, []byte("#!")) || !endsInReturn(head) {
		return ""
	}
	return fmt.Sprintf(": the first line of %s, %s, ends in a carriage return (\\r): write the file with the line ends of Unix (dos2unix)", path, quoted(head))
}

// headOf is the beginning of a regular file.
func headOf(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fs.ErrInvalid) // reading a pipe would block
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return io.ReadAll(io.LimitReader(f, maxFirstLine))
}

// interpreterOf is the interpreter that the system reads from a first line, including
// a carriage return at its end.
func interpreterOf(head []byte) (string, bool) {
	line, ok := strings.CutPrefix(firstOf(head), "#!")
	if !ok {
		return "", false
	}
	name, _, _ := strings.Cut(strings.TrimLeft(line, " \t"), " ")
	name, _, _ = strings.Cut(name, "\t")
	return name, true
}

func firstOf(head []byte) string {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	return string(line)
}

func endsInReturn(head []byte) bool { return strings.HasSuffix(firstOf(head), "\r") }

func quoted(head []byte) string { return fmt.Sprintf("%q", jobs.Clip(firstOf(head), mostQuoted)) }

// loaderOf is the loader that a program names when it does not exist; else empty.
func loaderOf(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // it was only read
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > maxFirstLine {
			continue
		}
		name, err := io.ReadAll(p.Open())
		loader := strings.TrimRight(string(name), "\x00")
		if _, statErr := os.Stat(loader); err == nil && errors.Is(statErr, fs.ErrNotExist) {
			return loader
		}
	}
	return ""
}
