package jobs

import "strings"

// mostText is how many bytes are kept of each text of a record that is too
// large.
const mostText = 64 << 10

// Shortened is a record whose texts have at most 64 KiB each, and whose
// warnings have that together, so that what decides something is stored in any
// case. What is cut ends in "…".
func (r Record) Shortened() Record {
	if r.Outcome != nil {
		o := *r.Outcome
		o.Error, o.Reason = shortened(o.Error), shortened(o.Reason)
		o.Warnings = firstOf(o.Warnings)
		r.Outcome = &o
	}
	if r.Cancel != nil {
		c := *r.Cancel
		c.By, c.Reason = shortened(c.By), shortened(c.Reason)
		r.Cancel = &c
	}
	if r.End != nil {
		e := *r.End
		e.Error = shortened(e.Error)
		r.End = &e
	}
	return r
}

func shortened(text string) string { return Clip(text, mostText) }

// Clip is a text of at most so many bytes: what is cut ends in "…".
func Clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// firstOf are as many texts as fit, and "…" when others are left out.
func firstOf(texts []string) []string {
	size := 0
	for i, t := range texts {
		if size += len(t) + 8; size > mostText {
			return append(texts[:i:i], "…")
		}
	}
	return texts
}
