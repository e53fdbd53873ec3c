package process

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/modpipe/modpipe/internal/scriptline"
	"github.com/modpipe/modpipe/jobs"
)

// markedScript is the script with marks that record its line, where the shell
// supports them.
func (c *command) markedScript() string {
	job := c.t.Job.Command
	switch job.Shell {
	case "", "sh", "bash":
	default:
		return job.Run
	}
	marks, ok := scriptline.Mark(job.Run, job.Shell, filepath.Join(c.files.root, lineName))
	if !ok || len(marks.Text) >= maxWord {
		return job.Run
	}
	c.marks = marks
	return marks.Text
}

// failedLine names the line at which the script failed. It is empty when the line
// is unknown, or a signal has ended the shell.
func (c *command) failedLine(state *os.ProcessState) string {
	if _, signal := exitOf(state); c.marks == nil || signal != "" {
		return ""
	}
	record, err := takeRecord(filepath.Join(c.files.root, lineName))
	if err != nil {
		return ""
	}
	line, text := c.marks.Line(record)
	if line == 0 {
		return ""
	}
	return fmt.Sprintf(" at line %d: %s", line, jobs.Clip(text, mostQuoted))
}

// maxRecord is longer than the last two line numbers of a record.
const maxRecord = 32

// takeRecord reads the end of the record of a script, and removes the file. The
// record is empty when there is no file.
func takeRecord(path string) (string, error) {
	info, err := os.Lstat(path)
	switch {
	case os.IsNotExist(err):
		_, err := os.Stat(filepath.Dir(path)) // without the directory no record could be written
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
