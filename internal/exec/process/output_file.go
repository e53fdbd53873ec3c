package process

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/jobs"
)

// maxOutputFile is how much an attempt may write to $MODPIPE_OUTPUT, in bytes.
const maxOutputFile = 256 << 20

// readOutputs reads the outputs of an attempt. With an error it returns the outputs
// before the fault, which always-run readers may still want.
func readOutputs(path string, m *mask.Masker) (map[string]string, error) {
	info, err := os.Lstat(path)
	switch {
	case os.IsNotExist(err):
		return nil, nil // the command removed it
	case err != nil:
		return nil, fmt.Errorf("$MODPIPE_OUTPUT: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("$MODPIPE_OUTPUT is not a regular file any more") // reading a pipe would block, and a link may lead elsewhere
	case info.Size() > maxOutputFile:
		return nil, fmt.Errorf("$MODPIPE_OUTPUT has %d bytes; at most 256 MiB are kept", info.Size())
	case info.Size() == 0:
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("$MODPIPE_OUTPUT: %w", err)
	}
	if utf16(data) {
		return nil, fmt.Errorf("$MODPIPE_OUTPUT is UTF-16; write it as UTF-8 (in PowerShell: … | Out-File -Append -Encoding utf8 $env:MODPIPE_OUTPUT)")
	}
	return parseOutputs(data, m)
}

// utf16 reports whether data begins with a byte order mark of UTF-16.
func utf16(data []byte) bool {
	return bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff"))
}

// parseOutputs reads lines of the form `key=value` and GitHub's heredoc form
// (GITHUB_OUTPUT). The first of = and << decides which of them it is. Empty lines are
// skipped, and the last of equal keys wins. A byte order mark at the beginning and a
// carriage return at the end of a line are dropped.
func parseOutputs(data []byte, m *mask.Masker) (map[string]string, error) {
	values := map[string]string{}
	p := outputParser{mask: m, rest: bytes.TrimPrefix(data, []byte("\uFEFF"))}
	for p.more() {
		key, value, err := p.entry()
		if err != nil {
			return values, fmt.Errorf("$MODPIPE_OUTPUT line %d: %w", p.started, err)
		}
		if key != "" {
			values[key] = value
		}
	}
	return values, nil
}

type outputParser struct {
	mask    *mask.Masker
	rest    []byte
	line    int // of the last line that was read
	started int // of the first line of the current entry
}

func (p *outputParser) more() bool { return len(p.rest) > 0 }

// next returns the next line, without the characters that end it.
func (p *outputParser) next() string {
	p.line++
	line, rest, _ := bytes.Cut(p.rest, []byte("\n"))
	p.rest = rest
	return string(bytes.TrimSuffix(line, []byte("\r")))
}

// entry reads one key and its value. The key of an empty line is empty.
func (p *outputParser) entry() (key, value string, err error) {
	text := p.next()
	p.started = p.line
	if text == "" {
		return "", "", nil
	}
	equals, heredoc := strings.Index(text, "="), strings.Index(text, "<<")
	switch {
	case equals >= 0 && (heredoc < 0 || equals < heredoc):
		key, value = text[:equals], text[equals+1:]
	case heredoc >= 0:
		key = text[:heredoc]
		value, err = p.heredoc(text[heredoc+2:])
	default:
		return "", "", fmt.Errorf("%q is neither key=value nor key<<DELIMITER", p.clip(text))
	}
	switch {
	case err != nil:
		return "", "", err
	case key == "":
		return "", "", fmt.Errorf("%q has no key", p.clip(text))
	case !utf8.ValidString(key) || !utf8.ValidString(value):
		return "", "", fmt.Errorf("the value of %q is not UTF-8", p.clip(key))
	}
	return key, value, nil
}

// heredoc reads the lines up to the delimiter. The end of the last line is not part of
// the value.
func (p *outputParser) heredoc(delimiter string) (string, error) {
	if delimiter == "" {
		return "", fmt.Errorf("no delimiter follows <<")
	}
	var value strings.Builder
	for first := true; p.more(); first = false {
		text := p.next()
		if text == delimiter {
			return value.String(), nil
		}
		if !first {
			value.WriteByte('\n')
		}
		value.WriteString(text)
	}
	return "", fmt.Errorf("the delimiter %q does not follow", p.clip(delimiter))
}

// clip shortens a text for an error. Secrets are masked first, because of one that is
// cut too little would be left to recognise it.
func (p *outputParser) clip(text string) string { return jobs.Clip(p.mask.Text(text), mostQuoted) }

// mostQuoted is how many bytes of the output of a command an error quotes.
const mostQuoted = 80
