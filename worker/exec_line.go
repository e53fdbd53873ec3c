package worker

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/modpipe/modpipe/internal/scriptline"
)

// markedScript is the text for the shell, which keeps its line where the shell
// can do this.
func (c *command) markedScript(s *scratch) string {
	job := c.job.Command
	switch job.Shell {
	case "", "sh", "bash":
	default:
		return job.Run
	}
	marks, ok := scriptline.Mark(job.Run, job.Shell, filepath.Join(s.root, lineName))
	if !ok || len(marks.Text) >= maxWord {
		return job.Run
	}
	c.marks = marks
	return marks.Text
}

// failedLine says at which line the script failed; empty when this is not
// known, or a signal has ended the shell.
func (c *command) failedLine(state *os.ProcessState, s *scratch) string {
	if _, signal := exitOf(state); c.marks == nil || signal != "" {
		return ""
	}
	record, err := takeRecord(filepath.Join(s.root, lineName))
	if err != nil {
		return ""
	}
	line, text := c.marks.Line(record)
	if line == 0 {
		return ""
	}
	return fmt.Sprintf(" at line %d: %s", line, clip(text, mostQuoted))
}

// maxRecord is more than the last two line numbers of a record have.
const maxRecord = 32

// takeRecord reads the end of the record of a script, and removes it. It is
// empty when there is none.
func takeRecord(path string) (string, error) {
	info, err := os.Lstat(path)
	switch {
	case os.IsNotExist(err):
		_, err := os.Stat(filepath.Dir(path)) // where there is none, none could be written
		return "", err
	case err != nil:
		return "", err
	case info.Size() == 0:
		return "", fmt.Errorf("%s could not be written", path)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a regular file", path)
	}
	if err := os.Chmod(path, 0o600); err != nil { // the script may have a umask
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	text := make([]byte, min(info.Size(), maxRecord))
	if _, err := f.ReadAt(text, info.Size()-int64(len(text))); err != nil {
		return "", err
	}
	return string(text), os.Remove(path)
}
