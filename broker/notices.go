package broker

import "sync"

// mostNotices bounds the remembered reports, and so the reports of one process
// about messages that others can write in any number.
const mostNotices = 1000

// notices remembers past reports. Safe for concurrent use.
type notices struct {
	mu   sync.Mutex
	said map[string]bool
}

// first reports whether something should be reported: it is new, and there were
// not too many reports.
func (n *notices) first(what string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.said[what] || len(n.said) > mostNotices {
		return false
	}
	if n.said == nil {
		n.said = map[string]bool{}
	}
	n.said[what] = true
	return true
}

// full reports whether the limit of reports is reached.
func (n *notices) full() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.said) > mostNotices
}

// warnOnce logs a warning once for each value of about.
func (c *Conn) warnOnce(about, text string, args ...any) {
	if !c.notices.first(about) {
		return
	}
	if c.notices.full() {
		text, args = "too many messages cannot be used; further ones are not reported", []any{"reported", mostNotices}
	}
	c.log.Warn(text, args...)
}
