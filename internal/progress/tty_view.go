package progress

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/report"
)

// liveView draws a shot into lines of a terminal.
type liveView struct {
	paint         console.Painter
	width, height int // of the area for the view, at least 1
}

const (
	airyHeight = 32 // height from which there are blank lines
	flatHeight = 12 // height below which only the most important parts are shown
	barWidth   = 40
)

// lines returns the picture. It fits into the width and the height.
func (v liveView) lines(x *liveShot) []string {
	head := v.header(x)
	var foot []string
	if v.height >= flatHeight {
		foot = v.footer(x)
	}
	failed, running, waits := x.counts[report.Failed]+x.counts[report.TimedOut], x.counts[report.Running], x.waitsN
	gap := 0
	if v.height >= airyHeight {
		gap = 1
	}
	free := v.height - len(head) - len(foot)
	if len(foot) > 0 {
		free -= gap
	}
	for _, want := range []int{failed, running, waits} {
		if want > 0 {
			free -= 1 + gap // its title
		}
	}
	rows := share(free, []int{failed, running, waits})
	all := head
	section := func(title string, want, rows int, draw func(i int) string, shown int) {
		if want == 0 || rows == 0 {
			return
		}
		if gap > 0 {
			all = append(all, "")
		}
		all = append(all, v.row(liveCell{text: title, tint: v.paint.Bold}))
		all = append(all, v.cut(want, min(rows, shown), rows, title, draw)...)
	}
	names := v.nameWidth(x, rows)
	section("failed", failed, rows[0], func(i int) string { return v.failedRow(&x.failed[i], names, x) }, len(x.failed))
	section("running", running, rows[1], func(i int) string { return v.runningRow(&x.running[i], names, x) }, len(x.running))
	section("waiting", waits, rows[2], func(i int) string { return v.waitRow(x.waits[i], names) }, len(x.waits))
	if gap > 0 && len(foot) > 0 {
		all = append(all, "")
	}
	all = append(all, foot...)
	return all[:min(len(all), max(1, v.height))]
}

// share distributes free rows among the failed, running and waiting modules. Each kind
// gets a few, and running modules get most of the rest.
func share(free int, want []int) []int {
	rows := make([]int, len(want))
	for round, dealt := 0, true; dealt && free > 0; round++ {
		dealt = false
		for i := range want {
			most := 1
			if round == 0 || i == 1 {
				most = 3
			}
			if n := min(most, free, want[i]-rows[i]); n > 0 {
				rows[i] += n
				free -= n
				dealt = true
			}
		}
	}
	return rows
}

// cut draws the rows that fit, and the number of the others.
func (v liveView) cut(want, shown, rows int, title string, draw func(int) string) []string {
	var lines []string
	if want > rows || want > shown {
		shown = min(shown, rows-1)
	}
	for i := range shown {
		lines = append(lines, draw(i))
	}
	if rest := want - shown; rest > 0 && shown > 0 {
		lines = append(lines, v.row(liveCell{text: fmt.Sprintf("%s… and %d more %s", indent, rest, title), tint: v.paint.Faint}))
	} else if rest > 0 {
		lines = append(lines, v.row(liveCell{text: fmt.Sprintf("%s%d %s", indent, rest, title)}))
	}
	return lines
}

func (v liveView) header(x *liveShot) []string {
	title := v.row(liveCell{text: safetext.Line(x.pipeline), most: max(8, v.width/3), tint: v.paint.Bold},
		liveCell{text: "run " + x.run, tint: v.paint.Faint}, liveCell{text: elapsedText(x)})
	lines := []string{title, v.progressLine(x), v.countsLine(x)}
	for _, note := range x.notes {
		for _, l := range wrap(safetext.Line(note), v.width, 2) {
			lines = append(lines, v.paint.Status("waiting", l))
		}
	}
	return lines
}

func elapsedText(x *liveShot) string {
	text := goingOn(x.elapsed)
	if x.leftKnown {
		text += ", " + roughly(x.left)
	}
	return text
}

// goingOn returns a running time as text. It omits tenths of a long time, which would
// cause a redraw of the line.
func goingOn(d time.Duration) string {
	if d < 10*time.Second {
		return phrase.Seconds(d.Truncate(100 * time.Millisecond).Seconds())
	}
	if d < time.Minute {
		return fmt.Sprintf("%ds", int(d.Seconds()))
	}
	return phrase.Seconds(d.Seconds())
}

// progressLine returns a bar with one letter for each kind, and the share that is done.
func (v liveView) progressLine(x *liveShot) string {
	total := max(1, x.total-x.hidden)
	done := min(total, x.done-x.hidden)
	text := fmt.Sprintf("%d of %d done, %d%%", done, x.total-x.hidden, 100*done/total)
	width := min(barWidth, v.width-ansi.StringWidth(text)-4)
	if width < 5 {
		return v.row(liveCell{text: text})
	}
	bad, cancelled := x.counts[report.Failed]+x.counts[report.TimedOut]+x.counts[report.DependencyFailed], x.counts[report.Cancelled]
	return "[" + v.bar(width, total, []barPart{
		{done - bad - cancelled, "=", "succeeded"}, {bad, "!", "failed"}, {cancelled, "x", "cancelled"}, {x.counts[report.Running], ">", "running"},
	}) + "]  " + text
}

type barPart struct {
	n            int
	letter, tint string
}

// bar gives every part that is not empty at least one letter, if possible.
func (v liveView) bar(width, total int, parts []barPart) string {
	var b strings.Builder
	left, sum, drawn := width, 0, 0
	for _, p := range parts {
		sum += p.n
		n := sum*width/total - drawn
		if p.n > 0 && n == 0 {
			n = 1
		}
		n = max(0, min(n, left))
		left -= n
		drawn += n
		b.WriteString(v.paint.Status(p.tint, strings.Repeat(p.letter, n)))
	}
	return b.String() + strings.Repeat(" ", left)
}

// countsLine returns the counts of all statuses, those that change first.
func (v liveView) countsLine(x *liveShot) string {
	var parts []string
	for _, status := range []report.Status{
		report.Failed, report.TimedOut, report.Running, report.Retrying, report.Ready, report.Waiting, report.Succeeded, report.Cached,
		report.IgnoredFailure, report.DependencyFailed, report.Cancelled, report.Skipped,
	} {
		n := x.counts[status]
		if status == report.Skipped {
			n -= x.hidden
		}
		if n > 0 {
			parts = append(parts, v.paint.Status(string(status), fmt.Sprintf("%d %s", n, status)))
		}
	}
	if x.hidden > 0 {
		parts = append(parts, v.paint.Faint(fmt.Sprintf("%d not selected", x.hidden)))
	}
	return ansi.Truncate(strings.Join(parts, ", "), v.width, "…")
}

// nameWidth returns the width of the names' column: that of the widest name, within
// bounds.
func (v liveView) nameWidth(x *liveShot, rows []int) int {
	widest := 8
	measure := func(name string) { widest = max(widest, ansi.StringWidth(name)) }
	for i := range x.failed[:min(len(x.failed), rows[0])] {
		measure(x.failed[i].name)
	}
	for i := range x.running[:min(len(x.running), rows[1])] {
		measure(x.running[i].name)
	}
	for _, w := range x.waits[:min(len(x.waits), rows[2])] {
		measure(w.who)
	}
	return min(widest, max(16, v.width*2/5))
}

func (v liveView) failedRow(m *liveModule, names int, x *liveShot) string {
	word := string(m.status)
	took := ""
	if m.took > 0 {
		took = phrase.Seconds(m.took.Seconds())
	}
	return v.row(nameCell(m.name, names), v.wordCell(word, 9), liveCell{text: took, least: 6},
		v.placeCell(m, x), liveCell{text: safetext.Line(m.why)})
}

func (v liveView) runningRow(m *liveModule, names int, x *liveShot) string {
	text := goingOn(max(0, x.now.Sub(m.started)))
	if usual := x.took[m.name]; usual > 0 {
		text += " of ~" + phrase.Seconds(usual.Seconds())
	}
	width := 6
	if len(x.took) > 0 {
		width = 15
	}
	if m.attempt > 1 {
		text += fmt.Sprintf(", attempt %d", m.attempt)
	}
	return v.row(nameCell(m.name, names), liveCell{text: text, least: width}, v.placeCell(m, x),
		liveCell{text: lastText(m.last), tint: v.paint.Faint})
}

// placeCell returns the module's worker when the run has several.
func (v liveView) placeCell(m *liveModule, x *liveShot) liveCell {
	if len(x.workers) < 2 {
		return liveCell{}
	}
	width := min(x.workerWidth, max(8, v.width/8))
	return liveCell{text: safetext.Line(m.worker), least: width, most: width, tint: v.paint.Faint}
}

// wordCell returns a status in its colour.
func (v liveView) wordCell(word string, width int) liveCell {
	return liveCell{text: word, least: width, tint: func(text string) string { return v.paint.Status(word, text) }}
}

func (v liveView) waitRow(w liveWait, names int) string {
	return v.row(nameCell(w.who, names), v.wordCell(w.word, 8), liveCell{text: safetext.Line(w.why)})
}

func (v liveView) footer(x *liveShot) []string {
	var lines []string
	if len(x.slowest) > 0 {
		lines = append(lines, v.row(liveCell{text: "slowest", least: 7, tint: v.paint.Bold}, liveCell{text: safetext.Line(slowestText(x.slowest))}))
	}
	if len(x.workers) > 0 {
		lines = append(lines, v.row(liveCell{text: "workers", least: 7, tint: v.paint.Bold}, liveCell{text: v.workersText(x)}))
	}
	return lines
}

// workersText returns as many workers as fit, lost workers first.
func (v liveView) workersText(x *liveShot) string {
	text := ""
	if len(x.workers) > 1 {
		text = fmt.Sprintf("%d of %d slots used: ", x.offer.used, x.offer.slots)
	}
	room := v.width - len("workers  ")
	for i, w := range lostFirst(x.workers) {
		part := workerText(w)
		if i > 0 {
			part = ", " + part
		}
		more := fmt.Sprintf(", … and %d more", len(x.workers)-i)
		size := ansi.StringWidth(text + part)
		if last := i == len(x.workers)-1; i > 0 && (size > room || !last && size+len(more) > room) {
			return text + more
		}
		text += part
	}
	return text
}

func lostFirst(workers []liveWorker) []liveWorker {
	var lost, there []liveWorker
	for _, w := range workers {
		if w.gone != "" {
			lost = append(lost, w)
		} else {
			there = append(there, w)
		}
	}
	return append(lost, there...)
}

func workerText(w liveWorker) string {
	name := safetext.Line(w.name)
	switch {
	case w.gone != "":
		return name + " " + w.gone
	case w.slots == 0:
		return fmt.Sprintf("%s %d used", name, w.used)
	}
	return fmt.Sprintf("%s %d/%d", name, w.used, w.slots)
}

// liveRow is a line of cells, two blanks apart, within the view's width.
type liveRow struct {
	b     strings.Builder
	left  int // columns
	blank int // owed before the next cell
}

// liveCell is text that is padded to least columns and cut at most columns.
type liveCell struct {
	text        string
	least, most int // 0 = no bound
	tint        func(string) string
}

func (v liveView) row(cells ...liveCell) string {
	r := &liveRow{left: v.width}
	for _, c := range cells {
		if c.text != "" || c.least > 0 {
			r.add(c)
		}
	}
	return r.b.String()
}

func (r *liveRow) add(c liveCell) {
	room := r.left - r.blank
	if room <= 0 {
		return
	}
	if c.most > 0 {
		room = min(room, c.most)
	}
	text := ansi.Truncate(c.text, room, "…")
	size := ansi.StringWidth(text)
	fill := max(0, c.least-size) + 2
	if size == 0 {
		r.blank += fill
		return
	}
	r.b.WriteString(strings.Repeat(" ", r.blank))
	r.left -= r.blank + size
	r.blank = fill
	if c.tint != nil {
		text = c.tint(text)
	}
	r.b.WriteString(text)
}

// indent begins the rows below a title.
const indent = "  "

// nameCell is the first column of such a row.
func nameCell(name string, width int) liveCell {
	return liveCell{text: indent + safetext.Line(name), least: width + len(indent), most: width + len(indent)}
}

// lastText returns what a terminal would show of a line. For a bar that is redrawn, this
// is the last picture.
func lastText(line string) string {
	line = strings.TrimRight(line, "\r␍")
	if i := strings.LastIndexAny(line, "\r␍"); i >= 0 {
		line = strings.TrimLeft(line[i:], "\r␍")
	}
	return strings.TrimSpace(safetext.Line(line))
}

// wrap breaks text at blanks into at most most lines.
func wrap(text string, width, most int) []string {
	var lines []string
	for len(lines) < most-1 && ansi.StringWidth(text) > width {
		head := ansi.Truncate(text, width, "")
		if i := strings.LastIndexByte(head, ' '); i > 0 {
			head = head[:i]
		}
		lines = append(lines, head)
		text = strings.TrimLeft(text[len(head):], " ")
	}
	return append(lines, ansi.Truncate(text, width, "…"))
}
