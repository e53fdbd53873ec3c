package console

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/modpipe/modpipe/internal/safetext"
)

// Writef writes text for people. It has no error: when writing fails, the
// reader has gone, and there is no other place for the error.
func Writef(w io.Writer, format string, args ...any) {
	_, _ = io.WriteString(w, safetext.Screen(fmt.Sprintf(format, args...)))
}

// Writeln writes a line for people, as Writef does.
func Writeln(w io.Writer, args ...any) {
	_, _ = io.WriteString(w, safetext.Screen(fmt.Sprintln(args...)))
}

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
