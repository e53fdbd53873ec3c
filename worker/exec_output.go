package worker

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"
)

// maxOutputFile is how much an attempt may write to $MODPIPE_OUTPUT.
const maxOutputFile = 256 << 20

// readOutputs reads what an attempt has set. With an error it returns what
// stood before the fault, which always-run readers may still want.
func readOutputs(path string) (map[string]string, error) {
	info, err := os.Lstat(path)
	switch {
	case os.IsNotExist(err):
		return nil, nil // the command removed it
	case err != nil:
		return nil, fmt.Errorf("$MODPIPE_OUTPUT: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("$MODPIPE_OUTPUT is not a regular file any more") // a pipe would block, a link lead elsewhere
	case info.Size() > maxOutputFile:
		return nil, fmt.Errorf("$MODPIPE_OUTPUT has %d bytes; at most 256 MiB are kept", info.Size())
	case info.Size() == 0:
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("$MODPIPE_OUTPUT: %w", err)
	}
	return parseOutputs(data)
}

// parseOutputs reads `key=value` lines and the heredoc form as GitHub's
// GITHUB_OUTPUT has them: whichever of = and << comes first decides, empty
// lines mean nothing, a line may end in CR LF, the last of equal keys wins.
func parseOutputs(data []byte) (map[string]string, error) {
	values := map[string]string{}
	p := outputParser{rest: data}
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
	rest    []byte
	line    int // number of the last line that was read
	started int // number of the line that the current entry began on
}

func (p *outputParser) more() bool { return len(p.rest) > 0 }

// next cuts one line, and the characters that ended it.
func (p *outputParser) next() (text, end string) {
	p.line++
	i := bytes.IndexByte(p.rest, '\n')
	if i < 0 {
		text, p.rest = string(p.rest), nil
		return text, ""
	}
	text, p.rest = string(p.rest[:i]), p.rest[i+1:]
	if cut, ok := strings.CutSuffix(text, "\r"); ok {
		return cut, "\r\n"
	}
	return text, "\n"
}

// entry reads one key and its value; no key for an empty line.
func (p *outputParser) entry() (key, value string, err error) {
	text, _ := p.next()
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
		return "", "", fmt.Errorf("%q is neither key=value nor key<<DELIMITER", clip(text, mostQuoted))
	}
	switch {
	case err != nil:
		return "", "", err
	case key == "":
		return "", "", fmt.Errorf("%q has no key", clip(text, mostQuoted))
	case !utf8.ValidString(key) || !utf8.ValidString(value):
		return "", "", fmt.Errorf("the value of %q is not UTF-8", clip(key, mostQuoted))
	}
	return key, value, nil
}

// heredoc reads the lines up to the delimiter; the end of the last one is not
// part of the value.
func (p *outputParser) heredoc(delimiter string) (string, error) {
	if delimiter == "" {
		return "", fmt.Errorf("nothing stands after <<: a delimiter must")
	}
	var value strings.Builder
	pending := ""
	for p.more() {
		text, end := p.next()
		if text == delimiter {
			return value.String(), nil
		}
		value.WriteString(pending)
		value.WriteString(text)
		pending = end
	}
	return "", fmt.Errorf("its end %q does not come", clip(delimiter, mostQuoted))
}

// mostQuoted is how much of what a command has written an error quotes.
const mostQuoted = 80

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
