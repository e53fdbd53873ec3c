package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A permission that is denied is one of two things. Before a program has come
// so far that it does its work, somebody has set it up wrongly, and it ends.
// Later the permission has been taken away, most often for a moment: a server
// reads its configuration again, or asks a service for it that is away. Then
// the program waits, and says for what.

// deniedPatience is how long a permission is waited for that this program has
// never used with success, once it is at work.
const deniedPatience = 30 * time.Second

// askAgain is the pause between tries to use a permission that was withdrawn.
const askAgain = time.Second

// errWithdrawn says that NATS denies for now what it will allow again.
var errWithdrawn = errors.New("NATS denies a permission for now")

// deniedError is one denial.
type deniedError struct {
	what    string // "publish" or "subscription"
	subject string
	passing bool // it is waited for
}

func (e *deniedError) Error() string {
	return fmt.Sprintf("%v: %s to %s", e.Unwrap(), e.what, e.subject)
}

// Unwrap says what a caller does about it.
func (e *deniedError) Unwrap() error {
	if e.passing {
		return errWithdrawn
	}
	return ErrDenied
}

// denials joins the permissions that the server denies, which it reports
// apart from any call, to those who wait for an answer on the subject.
type denials struct {
	calls *calls
	log   *slog.Logger

	mu       sync.Mutex
	watchers map[*denialWatch]struct{}
	strict   bool                 // nothing is waited for: permissions are being tried
	settled  time.Time            // since when the program is at work; zero = it is not yet
	since    map[string]denied    // by permission: without a success since
	said     map[string]time.Time // by permission: when it was last told of
}

// denied is for how long a permission is denied.
type denied struct{ first, last time.Time }

// denialWatch is somebody who wants to know of denials of some subjects.
type denialWatch struct {
	concerns func(subject string, subscription bool) bool
	denied   func(error)
}

// newDenials knows the calls before their inbox is subscribed: a denial of the
// inbox may come at once.
func newDenials(t *calls, log *slog.Logger) *denials {
	d := &denials{calls: t, log: log, watchers: map[*denialWatch]struct{}{}, since: map[string]denied{}, said: map[string]time.Time{}}
	t.allowed = d.allowed
	return d
}

var deniedSubject = regexp.MustCompile(`(Publish|Subscription) to "([^"]+)"`)

// heard tells whoever is concerned, and returns how many were.
func (d *denials) heard(err error) int {
	found := deniedSubject.FindStringSubmatch(err.Error())
	if found == nil {
		return 0
	}
	subscription, subject := found[1] == "Subscription", found[2]
	denied := d.judge(subject, subscription, time.Now())
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
	known := len(concerned) + d.tellCalls(subject, subscription, denied)
	if denied.passing {
		d.report(denied, time.Now())
		known++
	}
	return known
}

// judge decides whether a denial is waited for.
func (d *denials) judge(subject string, subscription bool, now time.Time) *deniedError {
	e := &deniedError{what: "publish", subject: subject}
	if subscription {
		e.what = "subscription"
	}
	key := d.permission(e)
	worked := d.calls.worked(key)
	d.mu.Lock()
	defer d.mu.Unlock()
	since := d.since[key]
	if now.Sub(since.last) > deniedPatience/2 { // it was used in between
		since.first = now
	}
	since.last = now
	d.since[key] = since
	worked = worked || subscription && d.stoodSince(since.first)
	patient := !d.settled.IsZero() && now.Sub(since.first) < deniedPatience
	e.passing = !d.strict && (worked || patient)
	return e
}

// stoodSince reports whether what is subscribed when the program comes to its
// work was heard for a while before it was denied. The caller holds mu.
func (d *denials) stoodSince(first time.Time) bool {
	return !d.settled.IsZero() && first.Sub(d.settled) > soonDenied
}

// soonDenied is how soon a server denies what is subscribed.
const soonDenied = 5 * time.Second

// permission names what was denied, with all that is allowed together with it.
func (d *denials) permission(e *deniedError) string {
	switch {
	case e.what == "publish":
		return permission(e.subject)
	case strings.HasPrefix(e.subject, d.calls.root+"."):
		return answersHeard
	}
	return "subscribe " + permission(e.subject)
}

// answersHeard is the permission to subscribe to inboxes.
const answersHeard = "subscribe to inboxes"

// permission is a subject without the names of runs, modules and readers.
func permission(subject string) string {
	tokens := 2
	switch {
	case strings.HasPrefix(subject, "$JS.API.CONSUMER.CREATE."), strings.HasPrefix(subject, "$JS.API.CONSUMER.DELETE."):
		tokens = 5
	case strings.HasPrefix(subject, "$JS.API."):
		return subject
	case strings.HasPrefix(subject, "$O."):
		tokens = 3
	case strings.Contains(subject, ".run."):
		_, record, _ := strings.Cut(subject, ".run.")
		if _, kind, ok := strings.Cut(record, "."); ok {
			subject, tokens = kind, 1
		}
	}
	end := 0
	for range tokens {
		i := strings.IndexByte(subject[end:], '.')
		if i < 0 {
			return subject
		}
		end += i + 1
	}
	return subject[:end-1]
}

// report tells of a permission that is waited for, at once and every minute.
func (d *denials) report(e *deniedError, now time.Time) {
	key := d.permission(e)
	d.mu.Lock()
	last, told := d.said[key]
	due := !told || now.Sub(last) >= sayFullEvery
	if due {
		d.said[key] = now
	}
	d.mu.Unlock()
	if due {
		d.log.Warn("the NATS user lacks a permission that it needs: waiting for it; nothing is lost", e.what, e.subject)
	}
}

// allowed hears that a permission is there.
func (d *denials) allowed(key string) {
	d.mu.Lock()
	_, told := d.said[key]
	delete(d.said, key)
	delete(d.since, key)
	d.mu.Unlock()
	if told {
		d.log.Info("the NATS user has the permission again", "permission", key)
	}
}

// atWork is since when the program is at work; zero = it is not yet.
func (d *denials) atWork() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.settled
}

// settle says that the program is at work.
func (d *denials) settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.settled.IsZero() {
		d.settled = time.Now()
	}
}

func (d *denials) tellCalls(subject string, subscription bool, denied *deniedError) int {
	switch {
	case subscription && strings.HasPrefix(subject, d.calls.prefix):
		d.calls.refuse(denied)
		if denied.passing {
			d.calls.openLater()
		}
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
