package draw

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/phrase"
)

// The measures of a picture, in pixels; text is 13 high.
const (
	svgMargin    = 20
	svgLine      = 17
	svgHeadLine  = 20
	svgPad       = 12   // beside the text in a box
	svgBold      = 14.2 // the size of a name's letters, and a little for their weight
	svgSmall     = 11.0
	svgMostWords = 32 // letters of a name
	svgLeastWide = 460
)

// svgStyle works without variables: not every renderer knows them.
const svgStyle = `
.pic{font:13px ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",Arial,sans-serif}
.pic .back{fill:#fff}
.pic text{fill:#1f2328}
.pic .head{font-size:16px;font-weight:600}
.pic .name{font-weight:600}
.pic .small{font-size:11px;fill:#57606a}
.pic .end{text-anchor:end}
.pic .box{fill:#f6f8fa;stroke:#8c959f}
.pic .bar{fill:#8c959f}
.pic .link{fill:none;stroke:#8c959f;stroke-width:1.3}
.pic .tip{fill:#8c959f}
.pic .optional{stroke-dasharray:5 4}
.pic .good .box{fill:#eaf7ec;stroke:#4a9a5c}.pic .good .bar{fill:#2da44e}
.pic .bad .box{fill:#ffebe9;stroke:#cf222e}.pic .bad .bar{fill:#cf222e}
.pic .warn .box{fill:#fff6dc;stroke:#b08010}.pic .warn .bar{fill:#d4a017}
.pic .busy .box{fill:#e6f1fd;stroke:#3b82d0}.pic .busy .bar{fill:#3b82d0}
.pic .critical .box{stroke:#7c3aed;stroke-width:2.5}
.pic .link.critical{stroke:#7c3aed;stroke-width:2.8}
.pic .tip.critical,.pic text.critical{fill:#7c3aed}
@media (prefers-color-scheme:dark){
.pic .back{fill:#0d1117}
.pic text{fill:#e6edf3}
.pic .small{fill:#9aa4af}
.pic .box{fill:#1a2029;stroke:#6e7681}
.pic .bar,.pic .tip{fill:#6e7681}
.pic .link{stroke:#6e7681}
.pic .good .box{fill:#12261a;stroke:#3f9150}
.pic .bad .box{fill:#32171a;stroke:#e5534b}
.pic .warn .box{fill:#2d2410;stroke:#c69026}
.pic .busy .box{fill:#11243a;stroke:#4a90d9}
.pic .critical .box,.pic .link.critical{stroke:#b794f6}
.pic .tip.critical,.pic text.critical{fill:#b794f6}
}
`

// svgText escapes text for use between tags and in attributes.
func svgText(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a builder does not fail
	return b.String()
}

// textWidth is about how wide a text is, in a wide font. Which one there is,
// only the reader of the picture knows.
func textWidth(s string, size float64) int {
	wide := 0.0
	for _, r := range s {
		switch {
		case strings.ContainsRune("ijltfrI.,:;'|()[] 1·", r):
			wide += 0.42
		case strings.ContainsRune("mwMW@%—…→≈", r):
			wide += 0.98
		case r >= 0x1100:
			wide += 1.05
		case r >= 'A' && r <= 'Z':
			wide += 0.74
		default:
			wide += 0.63
		}
	}
	return int(wide*size + 1)
}

// svgRow is a line of text in a box, with something at its end.
type svgRow struct {
	left, right string
	class       string
	critical    bool
}

// svgBox is the text of a box.
type svgBox struct {
	rows     []svgRow
	class    string // of its status
	critical bool
	full     string // all of it, for pointers and screen readers
	size     layoutSize
}

// statusClass is the colour of a status.
func statusClass(status string) string {
	switch status {
	case "succeeded", "cached":
		return "good"
	case "failed", "timed_out", "dependency_failed":
		return "bad"
	case "ignored_failure", "cancelled":
		return "warn"
	case "running", "retrying", "ready":
		return "busy"
	}
	return ""
}

// durationText is how long a module took, or is expected to take.
func (p *picture) durationText(m *pictured) string {
	switch {
	case !m.timed:
		return ""
	case p.measured:
		return phrase.Seconds(m.seconds)
	}
	return "≈ " + phrase.Seconds(m.seconds)
}

// say writes the text of a box.
func (p *picture) say(x *graphBox) svgBox {
	var b svgBox
	worst := &p.modules[x.members[0]]
	for _, i := range x.members {
		m := &p.modules[i]
		b.critical = b.critical || m.critical
		if statusRank(m.status) < statusRank(worst.status) {
			worst = m
		}
	}
	b.class = statusClass(worst.status)
	if x.alone {
		p.sayAlone(x, &b)
	} else {
		p.sayGroup(x, &b)
	}
	b.measure()
	return b
}

func (p *picture) sayAlone(x *graphBox, b *svgBox) {
	m := &p.modules[x.members[0]]
	b.rows = []svgRow{{left: phrase.Shorten(x.title, svgMostWords), class: "name", right: p.durationText(m)}}
	detail := strings.Join(append(nonEmpty(strings.ReplaceAll(m.status, "_", " ")), m.marks...), " · ")
	if detail != "" {
		b.rows = append(b.rows, svgRow{left: detail, class: "small"})
	}
	b.full = phrase.Join(", ", x.title, strings.ReplaceAll(m.status, "_", " "), p.durationText(m), strings.Join(m.marks, ", "), m.why())
}

func (p *picture) sayGroup(x *graphBox, b *svgBox) {
	members := make([]pictured, 0, len(x.members))
	longest := &p.modules[x.members[0]]
	for _, i := range x.members {
		members = append(members, p.modules[i])
		if p.modules[i].seconds > longest.seconds {
			longest = &p.modules[i]
		}
	}
	times := fmt.Sprintf("× %d", len(members))
	b.rows = []svgRow{{left: phrase.Shorten(x.title, svgMostWords), class: "name", right: times}}
	totals := statusCounts(members)
	marks := sharedMarks(members)
	if detail := strings.Join(marks, " · "); detail != "" {
		b.rows = append(b.rows, svgRow{left: detail, class: "small"})
	}
	if x.listed {
		for i := range members {
			m := &members[i]
			label := cmp.Or(m.label, m.name)
			b.rows = append(b.rows, svgRow{
				left: phrase.Shorten(label, svgMostWords+4), class: "small", critical: m.critical,
				right: phrase.Join(" · ", strings.ReplaceAll(m.status, "_", " "), p.durationText(m)),
			})
		}
	} else {
		if len(totals) > 0 {
			b.rows = append(b.rows, svgRow{left: phrase.Shorten(strings.ReplaceAll(strings.Join(totals, ", "), "_", " "), svgMostWords+10), class: "small"})
		}
		if longest.timed {
			b.rows = append(b.rows, svgRow{left: "longest " + p.durationText(longest), class: "small"})
		}
	}
	b.full = phrase.Join(", ", x.title+" "+times, strings.Join(totals, ", "), strings.Join(marks, ", "))
	for i := range members {
		if i == 20 {
			b.full += "\n…"
			break
		}
		b.full += "\n" + phrase.Join(", ", members[i].name, members[i].status, p.durationText(&members[i]))
	}
}

// sharedMarks are the marks that all members have.
func sharedMarks(members []pictured) []string {
	var shared []string
	for _, mark := range members[0].marks {
		if !slices.ContainsFunc(members, func(m pictured) bool { return !slices.Contains(m.marks, mark) }) {
			shared = append(shared, mark)
		}
	}
	return shared
}

func nonEmpty(words ...string) []string {
	return slices.DeleteFunc(words, func(s string) bool { return s == "" })
}

// why is what went wrong with a module, in a few words.
func (c *pictured) why() string {
	if c.of == nil {
		return ""
	}
	return phrase.FirstLine(cmp.Or(c.of.Error, c.of.Reason), 160)
}

func (b *svgBox) measure() {
	wide := 0
	for _, r := range b.rows {
		letter := svgSmall
		if r.class == "name" {
			letter = svgBold
		}
		w := textWidth(r.left, letter)
		if r.right != "" {
			w += textWidth(r.right, svgSmall) + 14
		}
		wide = max(wide, w)
	}
	b.size = layoutSize{max(wide+2*svgPad+4, 90), len(b.rows)*svgLine + 11}
}

// svg writes the picture, with lines of text above it.
func (p *picture) svg(w io.Writer, b *boxed, head []string) {
	boxes, sizes := make([]svgBox, len(b.boxes)), make([]layoutSize, len(b.boxes))
	for n := range b.boxes {
		boxes[n] = p.say(&b.boxes[n])
		sizes[n] = boxes[n].size
	}
	l := layOut(sizes, b.links)
	wide := max(l.width, svgLeastWide)
	top := svgMargin + len(head)*svgHeadLine
	if len(head) > 0 {
		top += 8
	}
	width, height := wide+2*svgMargin, top+l.height+svgMargin
	console.Writef(w, `<svg xmlns="http://www.w3.org/2000/svg" class="pic" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-labelledby="pic-title pic-desc">`+"\n", width, height, width, height)
	console.Writef(w, "<title id=\"pic-title\">%s</title>\n<desc id=\"pic-desc\">%s</desc>\n<style>%s</style>\n", svgText(p.title()), svgText(p.describe(b)), svgStyle)
	console.Writef(w, "<rect class=\"back\" width=\"%d\" height=\"%d\"/>\n", width, height)
	for n, line := range head {
		class := "small"
		switch {
		case n == 0:
			class = "head"
		case strings.HasPrefix(line, "critical path"):
			class = "small critical"
		}
		line = phrase.Shorten(line, max(int(float64(wide)/(svgSmall*0.6)), 40))
		console.Writef(w, "<text class=\"%s\" x=\"%d\" y=\"%d\">%s</text>\n", class, svgMargin, svgMargin+n*svgHeadLine+12, svgText(line))
	}
	console.Writef(w, "<g transform=\"translate(%d %d)\">\n", svgMargin, top)
	p.svgLinks(w, b, l)
	for n := range boxes {
		boxes[n].write(w, l.boxes[n])
	}
	console.Writeln(w, "</g>\n</svg>")
}

// title names the picture.
func (p *picture) title() string {
	if p.report == nil {
		return p.pipeline
	}
	text := fmt.Sprintf("%s, run %s: %s", p.pipeline, p.report.Run, p.report.Status)
	if p.report.Status != "running" {
		text += " in " + phrase.Seconds(p.report.Duration)
	}
	return text
}

// head are the lines above the picture.
func (p *picture) head(b *boxed) []string {
	lines := []string{p.title(), phrase.Join(": ", p.counts(), strings.ReplaceAll(strings.Join(statusCounts(p.modules), ", "), "_", " "))}
	if text := p.criticalText(); text != "" {
		lines = append(lines, text)
	}
	var legend []string
	if len(p.critical) > 0 {
		legend = append(legend, "violet and thick: the critical path")
	}
	if slices.ContainsFunc(b.links, func(l layoutLink) bool { return l.optional }) {
		legend = append(legend, "dashed: an optional need")
	}
	if b.note != "" {
		legend = append(legend, fmt.Sprintf("boxes: %d; %s", len(b.boxes), b.note))
	}
	if len(legend) > 0 {
		lines = append(lines, strings.Join(legend, " · "))
	}
	return lines
}

func (p *picture) counts() string {
	return phrase.Count(len(p.modules), "module") + " in " + phrase.Count(p.waves, "wave")
}

// describe is the picture in words, for screen readers.
func (p *picture) describe(b *boxed) string {
	lines := p.head(b)[1:]
	for _, l := range b.links {
		if len(lines) > 200 {
			lines = append(lines, "…")
			break
		}
		needs := "needs"
		if l.optional {
			needs = "needs, if it is there,"
		}
		lines = append(lines, fmt.Sprintf("%s %s %s", b.boxes[l.to].title, needs, b.boxes[l.from].title))
	}
	return strings.Join(lines, ".\n") + "."
}

// svgLinks writes the lines, those of the critical path last, and a tip where
// they arrive at a box.
func (p *picture) svgLinks(w io.Writer, b *boxed, l *layout) {
	hot, tips := p.accents(b, l)
	for _, critical := range []bool{false, true} {
		for n, s := range l.segments {
			if hot[n] == critical {
				console.Writef(w, "<path class=\"%s\" d=\"%s\"/>\n", linkClass(s.optional, critical), s.path())
			}
		}
	}
	for n, x := range l.boxes {
		if class := tips[n]; class != "" {
			console.Writef(w, "<path class=\"%s\" d=\"M%d %dl-7 -4v8z\"/>\n", class, x.x, x.y+x.h/2)
		}
	}
}

// accents finds the segments of the critical path, and the class of each
// box's tip.
func (p *picture) accents(b *boxed, l *layout) (hot map[int]bool, tips map[int]string) {
	on := p.criticalLinks(b)
	hot, tips = map[int]bool{}, map[int]string{}
	for _, link := range b.links {
		critical := on[[2]int{link.from, link.to}]
		if critical {
			for _, s := range l.routes[link] {
				hot[s] = true
			}
		}
		if critical || tips[link.to] == "" {
			tips[link.to] = "tip"
			if critical {
				tips[link.to] = "tip critical"
			}
		}
	}
	return hot, tips
}

func linkClass(optional, critical bool) string {
	class := "link"
	if optional {
		class += " optional"
	}
	if critical {
		class += " critical"
	}
	return class
}

// path is the segment as SVG draws it.
func (s layoutSegment) path() string {
	end := s.x2
	if s.through == 0 {
		end -= 5 // under the tip
	}
	text := fmt.Sprintf("M%d %d", s.x1, s.y1)
	if s.y1 == s.y2 {
		text += fmt.Sprintf("H%d", end)
	} else {
		middle := (s.x1 + end) / 2
		text += fmt.Sprintf("C%d %d %d %d %d %d", middle, s.y1, middle, s.y2, end, s.y2)
	}
	if s.through > 0 {
		text += fmt.Sprintf("H%d", s.through)
	}
	return text
}

func (b *svgBox) write(w io.Writer, at layoutBox) {
	class := strings.TrimSpace(b.class + map[bool]string{true: " critical"}[b.critical])
	console.Writef(w, "<g class=\"%s\"><title>%s</title>", class, svgText(b.full))
	console.Writef(w, `<rect class="box" x="%d" y="%d" width="%d" height="%d" rx="5"/>`, at.x, at.y, at.w, at.h)
	console.Writef(w, `<rect class="bar" x="%d" y="%d" width="4" height="%d" rx="2"/>`, at.x+1, at.y+1, at.h-2)
	for n, r := range b.rows {
		y := at.y + n*svgLine + 18
		more := ""
		if r.critical {
			more = " critical"
		}
		console.Writef(w, `<text class="%s%s" x="%d" y="%d">%s</text>`, r.class, more, at.x+svgPad+2, y, svgText(r.left))
		if r.right != "" {
			console.Writef(w, `<text class="small end%s" x="%d" y="%d">%s</text>`, more, at.x+at.w-svgPad+2, y, svgText(r.right))
		}
	}
	console.Writeln(w, "</g>")
}
