// Package lines joins the pieces in which output arrives to lines, and bounds
// what it keeps of each: a line may be as long as a disk, and a program that shows it
// holds at most Most bytes of it.
package lines

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Most is how many bytes of a line are kept.
const Most = 1 << 20

// roomy is the buffer that is kept between two lines; a larger one is freed.
const roomy = 64 << 10

// Line is a line without its end.
type Line struct {
	Text []byte // valid until the next call of the Joiner
	Cut  int64  // bytes that followed Text and were not kept
}

// String is the line as UTF-8, without a carriage return at its end. A mark
// says how much of it was cut.
func (l Line) String() string {
	if l.Cut == 0 {
		return strings.ToValidUTF8(string(bytes.TrimSuffix(l.Text, []byte{'\r'})), "\uFFFD")
	}
	whole := l.Text
	for range utf8.UTFMax - 1 { // a letter that was cut in two goes with the rest
		if r, n := utf8.DecodeLastRune(whole); r != utf8.RuneError || n != 1 {
			break
		}
		whole = whole[:len(whole)-1]
	}
	more := l.Cut + int64(len(l.Text)-len(whole))
	return strings.ToValidUTF8(string(whole), "\uFFFD") + fmt.Sprintf("… [%d more bytes of this line are not shown]", more)
}

// Joiner joins the pieces of one text. The zero value is ready. It is not
// safe for concurrent use.
type Joiner struct {
	text []byte // of the line whose end has not arrived, at most Most
	cut  int64
}

// Held is how many bytes wait for the end of their line.
func (j *Joiner) Held() int { return len(j.text) }

// Add takes the next piece and calls line with each line that it completes.
// It stops at the first error of line and returns it.
func (j *Joiner) Add(piece []byte, line func(Line) error) error {
	for {
		head, rest, found := bytes.Cut(piece, []byte{'\n'})
		if !found {
			j.keep(head)
			return nil
		}
		if err := j.end(head, line); err != nil {
			return err
		}
		piece = rest
	}
}

// Flush calls line with what has no end yet, if there is anything.
func (j *Joiner) Flush(line func(Line) error) error {
	if len(j.text) == 0 {
		return nil
	}
	return j.end(nil, line)
}

func (j *Joiner) keep(piece []byte) {
	n := min(len(piece), Most-len(j.text))
	j.text = append(j.text, piece[:n]...)
	j.cut += int64(len(piece) - n)
}

// end completes a line. One that came in one piece is not copied.
func (j *Joiner) end(last []byte, line func(Line) error) error {
	if len(j.text) == 0 && len(last) <= Most {
		return line(Line{Text: last})
	}
	j.keep(last)
	err := line(Line{Text: j.text, Cut: j.cut})
	j.text, j.cut = j.text[:0], 0
	if cap(j.text) > roomy {
		j.text = nil
	}
	return err
}
