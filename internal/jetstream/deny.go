package jetstream

import (
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

// DeniedError is one denial of a permission: ErrDenied, or ErrWithdrawn when the
// program waits for the permission.
type DeniedError struct {
	Subject      string
	Subscription bool // else a publish
	Passing      bool // the program waits for the permission
}

func (e *DeniedError) Error() string {
	return fmt.Sprintf("%v: %s to %s", e.Unwrap(), e.kind(), e.Subject)
}

// Unwrap returns the sentinel that callers test for.
func (e *DeniedError) Unwrap() error {
	if e.Passing {
		return ErrWithdrawn
	}
	return ErrDenied
}

func (e *DeniedError) kind() string {
	if e.Subscription {
		return "subscription"
	}
	return "publish"
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
	reported map[string]time.Time // by permission: when it was last reported
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
	d := &denials{calls: t, log: log, watchers: map[*denialWatch]struct{}{}, since: map[string]denied{}, reported: map[string]time.Time{}}
	t.allowed = d.allowed
	return d
}

var deniedSubject = regexp.MustCompile(`(Publish|Subscription) to "([^"]+)"`)

// received passes a denial to the watchers and calls of its subject, and returns
// their number.
func (d *denials) received(err error) int {
	found := deniedSubject.FindStringSubmatch(err.Error())
	if found == nil {
		return 0
	}
	subscription, subject := found[1] == "Subscription", found[2]
	denied := d.classify(subject, subscription, time.Now())
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
	known := len(concerned) + d.failCalls(subject, subscription, denied)
	if denied.Passing {
		d.report(denied, time.Now())
		known++
	}
	return known
}

// classify decides whether the program waits for the permission.
func (d *denials) classify(subject string, subscription bool, now time.Time) *DeniedError {
	e := &DeniedError{Subject: subject, Subscription: subscription}
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
	worked = worked || subscription && d.workedBefore(since.first)
	patient := !d.settled.IsZero() && now.Sub(since.first) < deniedPatience
	e.Passing = !d.strict && (worked || patient)
	return e
}

// workedBefore reports whether a subscription worked for a while before it was
// denied: the program subscribes when it begins its work. The caller holds mu.
func (d *denials) workedBefore(first time.Time) bool {
	return !d.settled.IsZero() && first.Sub(d.settled) > soonDenied
}

// soonDenied is the time within which a server denies a new subscription.
const soonDenied = 5 * time.Second

// permission names the denied permission together with those that are granted
// with it.
func (d *denials) permission(e *DeniedError) string {
	switch {
	case !e.Subscription:
		return permission(e.Subject)
	case strings.HasPrefix(e.Subject, d.calls.root+"."):
		return inboxPermission
	}
	return "subscribe " + permission(e.Subject)
}

// inboxPermission is the permission to subscribe to inboxes.
const inboxPermission = "subscribe to inboxes"

// permission returns a subject without the names of runs, modules and readers. Each
// namespace of values and of keys stays apart: a user may have some of them,
// and has then never used the others.
func permission(subject string) string {
	tokens := 2
	switch {
	case strings.HasPrefix(subject, "$JS.API.DIRECT.GET."):
		tokens = 5
		if _, read, ok := strings.Cut(subject, ".$"); ok {
			subject, tokens = "read $"+read, namespaced("$"+read)
		}
	case strings.HasPrefix(subject, "$JS.API.CONSUMER.CREATE."), strings.HasPrefix(subject, "$JS.API.CONSUMER.DELETE."):
		tokens = 5
	case strings.HasPrefix(subject, "$JS.API."):
		return subject
	case strings.HasPrefix(subject, "$"):
		tokens = namespaced(subject)
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

// namespaced is how many tokens of a subject of values, or of a bucket, name what is
// permitted together: the first token of a key of several is a namespace.
func namespaced(subject string) int {
	switch {
	case strings.HasPrefix(subject, "$O."):
		return 4
	case strings.HasPrefix(subject, "$KV.") && strings.Count(subject, ".") > 2:
		return 3
	}
	return 2
}

// report logs a permission that the program waits for, at first and then every
// minute.
func (d *denials) report(e *DeniedError, now time.Time) {
	key := d.permission(e)
	d.mu.Lock()
	last, reported := d.reported[key]
	due := !reported || now.Sub(last) >= reportEvery
	if due {
		d.reported[key] = now
	}
	d.mu.Unlock()
	if due {
		d.log.Warn("the NATS user lacks a permission that it needs: waiting for it; nothing is lost", e.kind(), e.Subject)
	}
}

// allowed notes that a permission works.
func (d *denials) allowed(key string) {
	d.mu.Lock()
	_, reported := d.reported[key]
	delete(d.reported, key)
	delete(d.since, key)
	d.mu.Unlock()
	if reported {
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

func (d *denials) failCalls(subject string, subscription bool, denied *DeniedError) int {
	switch {
	case subscription && strings.HasPrefix(subject, d.calls.prefix):
		d.calls.refuse(denied)
		if denied.Passing {
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

// WatchDenials calls denied for every denial for which concerns returns true,
// until stop is called.
func (c *Conn) WatchDenials(concerns func(subject string, subscription bool) bool, denied func(error)) (stop func()) {
	return c.denied.watch(concerns, denied)
}

// NoteAllowed notes that the user may publish to a subject: a message without an
// answer of its own has shown it. A later denial then counts as withdrawn.
func (c *Conn) NoteAllowed(subject string) { c.calls.works(subject) }
