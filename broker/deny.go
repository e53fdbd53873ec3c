package broker

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// denials joins the permissions that the server denies, which it reports
// apart from any call, to those who wait for an answer on the subject.
type denials struct {
	calls    *calls
	mu       sync.Mutex
	watchers map[*denialWatch]struct{}
}

// denialWatch is somebody who wants to know of denials of some subjects.
type denialWatch struct {
	concerns func(subject string, subscription bool) bool
	denied   func(error)
}

// newDenials knows the calls before their inbox is subscribed: a denial of the
// inbox may come at once.
func newDenials(t *calls) *denials {
	return &denials{calls: t, watchers: map[*denialWatch]struct{}{}}
}

var deniedSubject = regexp.MustCompile(`(Publish|Subscription) to "([^"]+)"`)

// heard tells whoever is concerned, and returns how many were.
func (d *denials) heard(err error) int {
	found := deniedSubject.FindStringSubmatch(err.Error())
	if found == nil {
		return 0
	}
	subscription, subject := found[1] == "Subscription", found[2]
	denied := fmt.Errorf("%w: %s to %s", ErrDenied, strings.ToLower(found[1]), subject)
	d.mu.Lock()
	var concerned []*denialWatch
	for w := range d.watchers {
		if w.concerns(subject, subscription) {
			concerned = append(concerned, w)
		}
	}
	d.mu.Unlock()
	for _, w := range concerned {
		w.denied(denied)
	}
	return len(concerned) + d.tellCalls(subject, subscription, denied)
}

func (d *denials) tellCalls(subject string, subscription bool, denied error) int {
	switch {
	case subscription && strings.HasPrefix(subject, d.calls.prefix):
		d.calls.refuse(denied)
		return 1
	case subscription:
		return 0
	}
	return d.calls.fail(denied, func(c call) bool { return c.subject == subject })
}

// watch calls denied for every denial that concerns somebody, until the
// returned function is called.
func (d *denials) watch(concerns func(subject string, subscription bool) bool, denied func(error)) (stop func()) {
	w := &denialWatch{concerns, denied}
	d.mu.Lock()
	d.watchers[w] = struct{}{}
	d.mu.Unlock()
	return func() {
		d.mu.Lock()
		delete(d.watchers, w)
		d.mu.Unlock()
	}
}
