package draw

import (
	"bytes"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/safetext"
)

// graphPage is the page of -o html: the picture, and beside it a table. It
// loads nothing, and has no script.
var graphPage = template.Must(template.New("graph").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{.Title}}</title>
<style>
body{margin:0;padding:1.2rem;font:14px/1.5 ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",Arial,sans-serif;color:#1f2328;background:#fff}
h1{font-size:1.3rem;margin:0 0 .3rem}
h2{font-size:1.05rem;margin:1.6rem 0 .4rem}
p{margin:.2rem 0}
.picture{overflow:auto;max-height:85vh;border:1px solid #d0d7de;border-radius:6px;margin-top:.8rem}
.picture svg{display:block}
table{border-collapse:collapse}
th,td{text-align:left;vertical-align:top;padding:.25rem .9rem .25rem .5rem;border-bottom:1px solid #d8dee4}
th{color:#57606a;font-weight:600}
td.number{text-align:right;font-variant-numeric:tabular-nums}
summary{cursor:pointer;font-weight:600}
details{margin-top:.6rem}
td.good{color:#1a7f37}td.bad{color:#cf222e}td.warn{color:#9a6700}td.busy{color:#0969da}
td.critical{color:#7c3aed;font-weight:600}
@media (prefers-color-scheme:dark){
body{color:#e6edf3;background:#0d1117}
.picture{border-color:#30363d}
th,td{border-color:#30363d}
th{color:#9aa4af}
td.good{color:#57ab5a}td.bad{color:#f47067}td.warn{color:#d4a72c}td.busy{color:#6cb6ff}td.critical{color:#b794f6}
}
</style>
</head>
<body>
<h1>{{.Title}}</h1>
{{range .Facts}}<p>{{.}}</p>
{{end}}<div class="picture" tabindex="0" role="region" aria-label="the graph">
{{.Picture}}</div>
{{if .Chain}}<h2>Critical path: {{.Total}}</h2>
<ol>
{{range .Chain}}<li>{{.Name}}{{if .Took}} ({{.Took}}){{end}}</li>
{{end}}</ol>
{{end}}<h2>Modules</h2>
{{define "head"}}<thead><tr><th scope="col">Module</th><th scope="col">Wave</th>{{if .}}<th scope="col">Status</th>{{end}}<th scope="col">{{if .}}Duration{{else}}Estimate{{end}}</th>{{if .}}<th scope="col">Waited</th><th scope="col">Attempts</th><th scope="col">Worker</th>{{end}}<th scope="col">Needs</th><th scope="col">Notes</th></tr></thead>
{{end}}{{define "rows"}}{{range .}}<tr><td{{if .Critical}} class="critical"{{end}}>{{.Name}}</td><td class="number">{{.Wave}}</td>{{if .Ran}}<td class="{{.Class}}">{{.Status}}</td>{{end}}<td class="number">{{.Took}}</td>{{if .Ran}}<td class="number">{{.Wait}}</td><td class="number">{{.Attempts}}</td><td>{{.Worker}}</td>{{end}}<td>{{.Needs}}</td><td>{{.Notes}}</td></tr>
{{end}}{{end}}<table>
{{template "head" .Ran}}<tbody>
{{template "rows" .Alone}}</tbody>
</table>
{{range .Groups}}<details{{if .Open}} open{{end}}><summary>{{.Name}}: {{.Text}}</summary>
<table>
{{template "head" $.Ran}}<tbody>
{{template "rows" .Rows}}</tbody>
</table>
</details>
{{end}}</body>
</html>
`))

// htmlPage is the data of the page.
type htmlPage struct {
	Title   string
	Facts   []string
	Picture template.HTML
	Total   string
	Chain   []htmlRow
	Ran     bool
	Alone   []htmlRow
	Groups  []htmlGroup
}

type htmlGroup struct {
	Name, Text string
	Open       bool // something in it wants to be seen
	Rows       []htmlRow
}

type htmlRow struct {
	Name, Status, Class, Took, Wait, Worker, Needs, Notes string
	Attempts                                              int
	Wave                                                  int
	Ran, Critical                                         bool
}

// html writes the page.
func (p *picture) html(w io.Writer) error {
	var svg bytes.Buffer
	b := p.inBoxes()
	p.svg(&svg, b, nil)
	page := htmlPage{
		Title: p.title(), Facts: p.head(b)[1:], Picture: template.HTML(svg.String()), // svg escapes what it writes
		Total: phrase.Seconds(p.total), Ran: p.report != nil,
	}
	if p.report != nil && p.report.Error != "" {
		page.Facts = append(page.Facts, p.report.Error)
	}
	needs := p.needsInWords()
	for _, i := range p.critical {
		page.Chain = append(page.Chain, p.row(i, ""))
	}
	families := map[string]int{}
	for i := range p.modules {
		family := p.modules[i].family
		if family == "" || hasMark(&p.modules[i]) {
			page.Alone = append(page.Alone, p.row(i, needs[i]))
			continue
		}
		n, known := families[family]
		if !known {
			n = len(page.Groups)
			families[family] = n
			page.Groups = append(page.Groups, htmlGroup{Name: family})
		}
		page.Groups[n].Rows = append(page.Groups[n].Rows, p.row(i, needs[i]))
	}
	p.openGroups(page.Groups)
	var text bytes.Buffer
	if err := graphPage.Execute(&text, page); err != nil {
		return err
	}
	_, err := w.Write(safetext.Markup(text.Bytes()))
	return err
}

func hasMark(m *pictured) bool {
	return slices.Contains(m.marks, markDynamic)
}

// openGroups reports what is in the families, and opens those that are short or
// have something wrong in them.
func (p *picture) openGroups(groups []htmlGroup) {
	for n := range groups {
		g := &groups[n]
		counts := map[string]int{}
		var order []string
		for _, r := range g.Rows {
			g.Open = g.Open || r.Class == "bad"
			if counts[r.Status]++; counts[r.Status] == 1 {
				order = append(order, r.Status)
			}
		}
		g.Open = g.Open || len(g.Rows) <= listedMembers
		g.Text = phrase.Count(len(g.Rows), "member")
		for _, s := range order {
			if s != "" {
				g.Text += ", " + strconv.Itoa(counts[s]) + " " + s
			}
		}
	}
}

// needsInWords is what each module needs: families by their names, where all
// members are needed.
func (p *picture) needsInWords() []string {
	size := map[string]int{}
	for i := range p.modules {
		size[p.modules[i].family]++
	}
	type need struct {
		family   string
		optional bool
	}
	lists := make([][]int, len(p.modules))
	optional := map[[2]int]bool{}
	for _, l := range p.links {
		lists[l.to] = append(lists[l.to], l.from)
		optional[[2]int{l.from, l.to}] = l.optional
	}
	words := make([]string, len(p.modules))
	for i, list := range lists {
		have := map[need]int{}
		for _, j := range list {
			have[need{p.modules[j].family, optional[[2]int{j, i}]}]++
		}
		var parts []string
		for _, j := range list {
			k := need{p.modules[j].family, optional[[2]int{j, i}]}
			name := p.modules[j].name
			if k.family != "" && have[k] == size[k.family] && have[k] > 1 {
				name = k.family + " (all " + strconv.Itoa(have[k]) + ")"
				have[k] = -1 // said
			} else if have[k] < 0 {
				continue
			}
			if k.optional {
				name += ", if it is there"
			}
			parts = append(parts, name)
		}
		words[i] = strings.Join(parts, "; ")
		if len(parts) > 12 {
			words[i] = strings.Join(parts[:10], "; ") + "; and " + strconv.Itoa(len(parts)-10) + " more"
		}
	}
	return words
}

func (p *picture) row(i int, needs string) htmlRow {
	m := &p.modules[i]
	r := htmlRow{
		Name: m.name, Status: strings.ReplaceAll(m.status, "_", " "), Class: statusClass(m.status), Took: p.durationText(m),
		Needs: needs, Wave: m.wave, Ran: p.report != nil, Critical: m.critical,
	}
	notes := nonEmpty(m.why())
	if m.critical {
		notes = append([]string{"on the critical path"}, notes...)
	}
	r.Notes = strings.Join(append(notes, m.marks...), " · ")
	if of := m.of; of != nil {
		r.Attempts = len(of.Attempts)
		if n := len(of.Attempts); n > 0 {
			r.Worker = of.Attempts[n-1].Worker
		}
		if of.Started != nil {
			r.Wait = phrase.Seconds(of.Wait)
		}
	}
	return r
}
