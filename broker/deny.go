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

// A denied permission means one of two things. While a program starts, its user
// is configured wrongly, and the program ends. Once the program works, the
// permission was withdrawn, most often for a moment: the server reloads its
// configuration, or the service that it asks for permissions is down. Then the
// program waits, and reports the permission that it waits for.

// deniedPatience is how long a working program waits for a permission that it
// has never used successfully.
const deniedPatience = 30 * time.Second

// askAgain is the pause between attempts to use a withdrawn permission.
const askAgain = time.Second

// errWithdrawn reports a permission that is expected to return.
var errWithdrawn = errors.New("NATS denies a permission for now")

// deniedError is one denial.
type deniedError struct {
	what    string // "publish" or "subscription"
	subject string
	passing bool // the program waits for the permission
}

func (e *deniedError) Error() string {
	return fmt.Sprintf("%v: %s to %s", e.Unwrap(), e.what, e.subject)
}

// Unwrap returns the sentinel that callers test for.
func (e *deniedError) Unwrap() error {
	if e.passing {
		return errWithdrawn
	}
	return ErrDenied
}

// denials passes the server's denials, which name a subject but no call, to the
// calls and watchers of that subject.
type denials struct {
	calls *calls
	log   *slog.Logger

	mu       sync.Mutex
	watchers map[*denialWatch]struct{}
	strict   bool                 // every denial is final: doctor tests permissions
	settled  time.Time            // when the program began its work; zero = it still starts
	since    map[string]denied    // by permission: the denials since its last success
	said     map[string]time.Time // by permission: when it was last reported
}

// denied is the time for which a permission has been denied.
type denied struct{ first, last time.Time }

// denialWatch receives the denials of some subjects.
type denialWatch struct {
	concerns func(subject string, subscription bool) bool
	denied   func(error)
}

// newDenials takes the calls before their inbox is subscribed, because the
// server may deny the inbox immediately.
func newDenials(t *calls, log *slog.Logger) *denials {
	d := &denials{calls: t, log: log, watchers: map[*denialWatch]struct{}{}, since: map[string]denied{}, said: map[string]time.Time{}}
	t.allowed = d.allowed
	return d
}

var deniedSubject = regexp.MustCompile(`(Publish|Subscription) to "([^"]+)"`)

// heard passes a denial to the watchers and calls of its subject, and returns
// their number.
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

// judge decides whether the program waits for the permission.
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
	if now.Sub(since.last) > deniedPatience/2 { // it was allowed in between
		since.first = now
	}
	since.last = now
	d.since[key] = since
	worked = worked || subscription && d.stoodSince(since.first)
	patient := !d.settled.IsZero() && now.Sub(since.first) < deniedPatience
	e.passing = !d.strict && (worked || patient)
	return e
}

// stoodSince reports whether a subscription worked for a while before it was
// denied: the program subscribes when it begins its work. The caller holds mu.
func (d *denials) stoodSince(first time.Time) bool {
	return !d.settled.IsZero() && first.Sub(d.settled) > soonDenied
}

// soonDenied is the time within which a server denies a new subscription.
const soonDenied = 5 * time.Second

// permission names the denied permission together with those that are granted
// with it.
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

// permission returns a subject without the names of runs, modules and readers.
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

// report logs a permission that the program waits for, at first and then every
// minute.
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

// allowed notes that a permission works.
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

// atWork returns when the program began its work; zero = it still starts.
func (d *denials) atWork() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.settled
}

// settle notes that the program begins its work.
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

// watch calls denied for every denial for which concerns returns true, until
// stop is called.
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
