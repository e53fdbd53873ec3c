package jetstream

import "sync"

// mostNotices bounds the remembered reports, and so the reports of one process
// about messages that others can write in any number.
const mostNotices = 1000

// notices remembers past reports. Safe for concurrent use.
type notices struct {
	mu   sync.Mutex
	seen map[string]bool
}

// first reports whether something should be reported: it is new, and there were
// not too many reports.
func (n *notices) first(what string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen[what] || len(n.seen) > mostNotices {
		return false
	}
	if n.seen == nil {
		n.seen = map[string]bool{}
	}
	n.seen[what] = true
	return true
}

// full reports whether the limit of reports is reached.
func (n *notices) full() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.seen) > mostNotices
}

// WarnOnce logs a warning once for each value of about.
func (c *Conn) WarnOnce(about, text string, args ...any) {
	if !c.notices.first(about) {
		return
	}
	if c.notices.full() {
		text, args = "too many messages cannot be used; further ones are not reported", []any{"reported", mostNotices}
	}
	c.log.Warn(text, args...)
}
