package broker

import "sync"

// mostNotices bounds what is remembered of what was reported, and so what one
// process reports of messages that others may write in any number.
const mostNotices = 1000

// notices are what was reported already. Safe for concurrent use.
type notices struct {
	mu   sync.Mutex
	said map[string]bool
}

// first reports whether something is to be reported: it was not yet, and there
// were not too many others.
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

// full reports whether nothing more is reported.
func (n *notices) full() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.said) > mostNotices
}

// warnOnce logs a warning, the first time for what it is about.
func (c *Conn) warnOnce(about, text string, args ...any) {
	if !c.notices.first(about) {
		return
	}
	if c.notices.full() {
		text, args = "too many messages cannot be used; further ones are not reported", []any{"reported", mostNotices}
	}
	c.log.Warn(text, args...)
}
