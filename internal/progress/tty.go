package progress

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/term"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/shown"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

const (
	liveTick = 250 * time.Millisecond // between two checks for news
	liveIdle = 500 * time.Millisecond // between two pictures while nothing happens
	liveFPS  = 8
	// ClosePatience bounds the wait for a terminal that takes no output.
	ClosePatience = 2 * time.Second
)

// ttyProgress is the live view: a picture of the run at the bottom of the terminal. It
// is redrawn while the run lasts, and the summary replaces it in the end. An event only
// updates liveState. A goroutine of bubbletea takes a shot of that a few times a second
// and draws it (tty_view.go). So a slow terminal does not slow the run down.
//
// The view reads no input and handles no signals. The terminal stays in its usual mode,
// and Ctrl-C stays a signal, which the runner handles. The view only turns echo off, so
// that keys do not appear in the picture. The cursor stays visible, below the picture.
// close undoes that, from any goroutine, at any time.
type ttyProgress struct {
	log   *console.Logger
	out   *os.File
	env   []string
	paint console.Painter

	mu      sync.Mutex // guards the fields below; not held while the view writes to the terminal
	state   *liveState
	tails   *tails
	plain   *plainProgress // used when the view has ended before the run
	program *tea.Program   // nil until the run begins
	stopped bool
	clear   bool // the view is removed from the terminal
	quiet   func()

	views sync.WaitGroup
	done  chan struct{} // closed when the view has ended
}

func newTTYProgress(out *os.File, env []string, paint console.Painter, p *pipeline.Pipeline) *ttyProgress {
	t := &ttyProgress{
		out: out, env: env, paint: paint, state: newLiveState(p), tails: newTails(),
		done: make(chan struct{}), quiet: func() {},
	}
	t.log = console.NewLogger(noteWriter{t}, paint, slog.LevelWarn)
	return t
}

// canLive returns why a live view cannot be shown on w, "" = it can.
func (c *Config) canLive(w io.Writer) string {
	f, ok := w.(*os.File)
	switch {
	case !ok || !term.IsTerminal(int(f.Fd())):
		return "stderr is no terminal"
	case c.Env["TERM"] == "dumb" || c.Env["TERM"] == "" && runtime.GOOS != "windows":
		return fmt.Sprintf("the terminal cannot move its cursor (TERM=%s)", c.Env["TERM"])
	case !inForeground(f):
		return "this process is in the background"
	}
	return ""
}

func (p *ttyProgress) Logger() *slog.Logger { return p.log.Logger }

// noteWriter turns a logger's lines into notes.
type noteWriter struct{ p *ttyProgress }

func (w noteWriter) Write(b []byte) (int, error) {
	w.p.Note("%s", strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

// Note shows a note above the view when it comes before the view starts, else in it.
// The note is written again after the view has ended.
func (p *ttyProgress) Note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.program == nil || p.stopped {
		console.Writef(p.out, format+"\n", args...)
		return
	}
	p.state.note(fmt.Sprintf(format, args...))
}

// Estimates sets the durations of earlier runs.
func (p *ttyProgress) Estimates(took map[string]time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.eta.took = took
}

func (p *ttyProgress) Event(e report.Event) {
	e = shown.Event(e)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.plain != nil {
		p.plain.Event(e)
		return
	}
	p.tails.event(e)
	p.state.event(e, time.Now())
	if p.program == nil {
		p.show()
	}
}

// show starts the view, under p.mu.
func (p *ttyProgress) show() {
	m := &liveModel{p: p, view: liveFrame(nil)}
	p.program = tea.NewProgram(m, tea.WithInput(nil), tea.WithOutput(p.out), tea.WithEnvironment(p.env),
		tea.WithoutSignalHandler(), tea.WithFPS(liveFPS))
	p.quiet = muteEcho(p.out)
	p.views.Go(func() {
		defer close(p.done)
		if _, err := p.program.Run(); err != nil {
			p.goOn(fmt.Sprintf("the live view has ended (%v): going on with plain lines", err))
		}
	})
	p.views.Go(func() { watchResumed(p.done, p.resumed) })
}

// goOn continues with plain lines after the view has failed.
func (p *ttyProgress) goOn(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	p.stopped = true
	p.giveBack()
	p.goPlain(why)
}

// goPlain switches to plain lines and writes why, under p.mu.
func (p *ttyProgress) goPlain(why string) {
	p.plain = newPlainProgress(p.out, p.paint, nil)
	p.plain.start, p.plain.tails = p.state.started, p.tails
	console.Writeln(p.out, why)
}

// giveBack restores the terminal and writes the notes of the view again, under p.mu.
func (p *ttyProgress) giveBack() {
	p.quiet()
	p.quiet = func() {}
	for _, n := range p.state.notes {
		console.Writeln(p.out, n)
	}
	p.state.notes = nil
}

// resumed redraws over the text that the shell has written in between. In the
// background it draws nothing.
func (p *ttyProgress) resumed() {
	if inForeground(p.out) {
		p.mu.Lock()
		p.quiet = muteEcho(p.out)
		p.mu.Unlock()
		p.program.Send(tea.ClearScreen())
		return
	}
	p.stop(false)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.goPlain("in the background now: going on with plain lines")
}

// stop ends the view and restores the terminal. It may be called more than once.
func (p *ttyProgress) stop(clear bool) {
	p.mu.Lock()
	first := p.program != nil && !p.stopped
	if first {
		p.stopped, p.clear = true, clear
	}
	p.mu.Unlock()
	if !first {
		return
	}
	p.leave()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.giveBack()
}

// leave ends bubbletea. It does not wait for a terminal that is stopped (Ctrl-S).
func (p *ttyProgress) leave() {
	p.views.Go(p.program.Quit)
	timer := time.NewTimer(ClosePatience)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
	}
}

// Close restores the terminal. It keeps the last picture when the end has not been shown.
func (p *ttyProgress) Close() {
	p.stop(false)
	p.log.Flush()
}

func (p *ttyProgress) End(r *report.Report) {
	r = shown.Report(r)
	p.stop(true)
	p.log.Flush()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tails.write(p.out, r, p.paint)
	console.Writeln(p.out)
	WriteSummary(p.out, r, p.paint)
}

// liveModel is the model of bubbletea. One goroutine calls its methods.
type liveModel struct {
	p             *ttyProgress
	width, height int
	tallest       int // so far, since the last change of size
	drawn         time.Time
	seen          uint64
	view          tea.View
}

type liveTicked time.Time

func tickLive() tea.Cmd {
	return tea.Tick(liveTick, func(t time.Time) tea.Msg { return liveTicked(t) })
}

// Init starts the clock.
func (m *liveModel) Init() tea.Cmd { return tickLive() }

// Update handles ticks and changes of size. It ignores all other messages.
func (m *liveModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height, m.tallest, m.drawn = msg.Width, msg.Height, 0, time.Time{}
	case liveTicked:
		return m, tickLive()
	}
	return m, nil
}

// View draws when there is news, and now and then to advance the clock.
func (m *liveModel) View() tea.View {
	shot, stopped, ok := m.look(time.Now())
	if !ok {
		return m.view
	}
	if shot == nil {
		return liveFrame(nil)
	}
	// One line, below the picture, is for the cursor. Another stays free above: tmux
	// keeps text that is erased from the first line of a screen as history.
	lines := liveView{paint: m.p.paint, width: max(1, m.width-1), height: max(1, m.height-2)}.lines(shot)
	m.tallest = max(m.tallest, len(lines))
	if !stopped { // so that the lines below do not jump
		lines = slices.Concat(lines, make([]string, m.tallest-len(lines)))
	}
	m.view = liveFrame(lines)
	return m.view
}

// look takes a shot when it is due; nil = the view has ended.
func (m *liveModel) look(now time.Time) (shot *liveShot, stopped, ok bool) {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	if m.p.stopped && m.p.clear {
		return nil, true, true
	}
	idle := now.Sub(m.drawn)
	if m.width == 0 || !m.p.stopped && (idle < liveTick/2 || idle < liveIdle && m.p.state.seen == m.seen) {
		return nil, false, false
	}
	m.drawn, m.seen = now, m.p.state.seen
	return m.p.state.shot(now, m.height), m.p.stopped, true
}

// liveFrame returns lines with the cursor below them. The cursor stays visible, so that a
// crash does not leave it hidden.
func liveFrame(lines []string) tea.View {
	v := tea.View{DisableBracketedPasteMode: true, Cursor: tea.NewCursor(0, len(lines))}
	v.Cursor.Shape, v.Cursor.Blink = -1, false // keeps the user's cursor: no code is sent for it
	if len(lines) > 0 {
		v.Content = strings.Join(lines, "\n") + "\n"
	}
	return v
}
