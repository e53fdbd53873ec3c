package process

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/modpipe/modpipe/jobs"
)

// maxWord is the longest argument or NAME=value, with the zero byte that ends it
// (MAX_ARG_STRLEN of Linux). It is the same on all systems, so that a pipeline behaves
// alike everywhere.
const maxWord = 128 << 10

// argv is the command line of a command whose script is text. A script that is too
// long for an argument goes through a file, which save writes and whose path it
// returns.
func argv(c *jobs.CommandJob, text string, save func(text string) (string, error)) ([]string, error) {
	if c.Run == "" {
		return words(c.Args)
	}
	shell, ok := shellOf(c.Shell)
	if !ok {
		return nil, fmt.Errorf("unknown shell %q: this worker knows sh, bash, pwsh and python", c.Shell)
	}
	if c.Shell == "pwsh" {
		text = pwshPrologue + text + pwshEpilogue
	}
	if len(text) < maxWord {
		return append(shell.text, text), nil
	}
	path, err := save(text)
	if err != nil {
		return nil, fmt.Errorf("write the script: %w", err)
	}
	return append(shell.file, path), nil
}

func words(args []string) ([]string, error) {
	if len(args) == 0 || args[0] == "" {
		return nil, fmt.Errorf("the command is empty")
	}
	for i, a := range args {
		if len(a) >= maxWord {
			return nil, fmt.Errorf("word %d of the command is %d bytes long; the system takes at most 128 KiB in one: hand it over by stdin", i+1, len(a))
		}
		if strings.IndexByte(a, 0) >= 0 {
			return nil, fmt.Errorf("word %d of the command has a zero byte in it", i+1)
		}
	}
	return args, nil
}

// shellForm is how a shell is started with a text and with a file.
type shellForm struct{ text, file []string }

func shellOf(name string) (shellForm, bool) {
	forms := func(words ...string) (shellForm, bool) {
		return shellForm{text: append(slices.Clone(words), "-c"), file: words}, true
	}
	switch name {
	case "", "sh":
		return forms("sh", "-eu")
	case "bash":
		return forms("bash", "--noprofile", "--norc", "-euo", "pipefail")
	case "python":
		return forms("python")
	case "pwsh":
		words := []string{"pwsh", "-NoLogo", "-NoProfile", "-NonInteractive"}
		return shellForm{text: append(slices.Clone(words), "-Command"), file: append(words, "-File")}, true
	}
	return shellForm{}, false
}

// pwsh continues after errors, and ignores exit codes, unless the script sets this.
const (
	pwshPrologue = "$ErrorActionPreference = 'stop'\n"
	pwshEpilogue = "\nif (Test-Path -LiteralPath variable:\\LASTEXITCODE) { exit $LASTEXITCODE }\n"
)

// lookPath finds a program as execvp would: on the PATH of the command itself.
// Relative paths start at the directory of the command.
func lookPath(name, dir, path string) (string, error) {
	if strings.ContainsRune(name, '/') || strings.ContainsRune(name, filepath.Separator) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return Executable(name)
	}
	var denied error
	for _, d := range filepath.SplitList(path) {
		if !filepath.IsAbs(d) {
			d = filepath.Join(dir, d)
		}
		found, err := Executable(filepath.Join(d, name))
		if err == nil {
			return found, nil
		}
		if os.IsPermission(err) {
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", fmt.Errorf("not found on PATH, which was %q", path)
}

// Executable returns the path of the file to run; on Windows, with the ending that
// makes it executable.
func Executable(path string) (string, error) {
	info, err := os.Stat(path)
	if err == nil && info.Mode().IsRegular() && (runtime.GOOS == "windows" || info.Mode()&0o111 != 0) {
		return path, nil
	}
	if runtime.GOOS == "windows" {
		for _, ext := range []string{".exe", ".cmd", ".bat", ".com"} {
			if i, e := os.Stat(path + ext); e == nil && i.Mode().IsRegular() {
				return path + ext, nil
			}
		}
	}
	switch {
	case os.IsNotExist(err):
		return "", fmt.Errorf("%s does not exist", path)
	case err != nil:
		return "", err
	case info.IsDir():
		return "", fmt.Errorf("%s is a directory", path)
	}
	return "", fmt.Errorf("%s is not executable: %w", path, os.ErrPermission)
}
