package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/internal/secrets"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

const (
	// tellWaiting is how long an attempt waits for its secrets before its log tells.
	tellWaiting = 2 * time.Second
	// secretsRetry is the time between two attempts to receive secrets, after a denial.
	secretsRetry = 30 * time.Second
)

// parcel receives the secrets of one delivery. Only its task opens it.
type parcel struct {
	box     *signing.Box
	arrived chan *jobs.SealedSecrets // holds the newest message
	opened  chan struct{}            // closed when the values are there
	fault   error                    // why it has no box
}

func newParcel(job *jobs.Job) *parcel {
	if !jobs.Delivered(job.Secrets) {
		return nil
	}
	box, err := signing.NewBox()
	return &parcel{box: box, fault: err, arrived: make(chan *jobs.SealedSecrets, 1), opened: make(chan struct{})}
}

// key is the public key that the claim names; "" = no secrets are sent.
func (p *parcel) key() string {
	if p == nil || p.box == nil {
		return ""
	}
	return p.box.Public()
}

func (p *parcel) isOpen() bool {
	select {
	case <-p.opened:
		return true
	default:
		return false
	}
}

// secretsFor receives the secrets for attempts of this worker. A denied permission
// stops the modules with secrets, and no others.
func (s *shift) secretsFor(ctx context.Context) error {
	for {
		err := s.conn.Control.Secrets(ctx, s.cfg.Name, s.arrived)
		if !errors.Is(err, broker.ErrDenied) {
			return err
		}
		s.log.Warn("the NATS user may not receive secrets: modules that have some wait on this worker", "error", err)
		if pause.For(ctx, secretsRetry) != nil {
			return nil //nolint:nilerr // ctx has ended
		}
	}
}

// arrived passes on a message, if it is for an attempt of this worker and signed with
// its key. It is repeated until it is confirmed, so a message may be dropped.
func (s *shift) arrived(m *jobs.SealedSecrets, signed func(signing.Key) bool) {
	s.each(func(a *task) {
		if a.parcel == nil || a.job.Run != m.Run || a.Nonce() != m.Nonce || a.job.Module != m.Module || a.job.Attempt != m.Attempt {
			return
		}
		if !signed(a.job.Key) {
			s.trust.ignore("secrets " + a.String())
			return
		}
		if a.parcel.isOpen() {
			a.confirmSecrets()
			return
		}
		select {
		case <-a.parcel.arrived: // an older one
		default:
		}
		select {
		case a.parcel.arrived <- m:
		default:
		}
	})
}

func (a *task) confirmSecrets() {
	q := &jobs.Question{Worker: a.s.cfg.Name, Module: a.job.Module, Attempt: a.job.Attempt, Nonce: a.Nonce(), Received: true}
	if err := a.s.conn.Control.Confirm(a.job.Run, a.job.Key, q); err != nil {
		a.s.log.Debug("the confirmation of secrets was not sent; they come again", "attempt", a.String(), "error", err)
	}
}

// receiveSecrets gives the attempt its secrets before it starts. It returns how the
// attempt ends without them. A request to end the attempt ends the wait for them, and
// so does its time-out, of which the wait is a part.
func (a *task) receiveSecrets(ctx context.Context, out exec.Sink) *exec.Result {
	if len(a.job.Secrets) == 0 {
		return nil
	}
	began := time.Now()
	waiting, stop := a.Stops().Within(ctx)
	defer stop()
	found, err := a.secretValues(waiting, out)
	if err == nil {
		err = secrets.Check(found)
	}
	if err != nil {
		return a.notPrepared(fmt.Errorf("its secrets: %w", err))
	}
	a.secrets, a.mask, a.waited = found, mask.New(found), time.Since(began)
	return nil
}

func (a *task) secretValues(ctx context.Context, out exec.Sink) (found []mask.Secret, err error) {
	var values map[string]string
	if a.parcel != nil {
		if values, err = a.awaitSecrets(ctx, out); err != nil {
			return nil, err
		}
	}
	for _, s := range a.job.Secrets {
		value, known := values[s.Name]
		if s.FromWorker {
			value, err = a.s.cfg.Secrets.Value(s.Name)
			known = err == nil
		}
		if !known {
			return nil, fmt.Errorf("%s is not known here", s.Name)
		}
		found = append(found, mask.Secret{Name: s.Name, Env: s.Env, File: s.File, AllowShort: s.AllowShort, Value: value})
	}
	return found, nil
}

// awaitSecrets returns what the orchestrator sends. Everything else that arrives is
// told in the log of the module, once.
func (a *task) awaitSecrets(ctx context.Context, out exec.Sink) (map[string]string, error) {
	p := a.parcel
	if p.fault != nil {
		return nil, p.fault
	}
	tell, limit, told := time.After(tellWaiting), timeOut(a.job.Timeout), ""
	for {
		select {
		case m := <-p.arrived:
			if m.Lacks != "" {
				if m.Lacks != told {
					told = m.Lacks
					writeLine(out, "waiting for secrets: "+told)
				}
				continue
			}
			values, err := secrets.Open(p.box, m.Sealed)
			if err != nil {
				a.s.log.Warn("secrets that cannot be opened were ignored", "attempt", a.String(), "error", err)
				continue
			}
			close(p.opened)
			a.confirmSecrets()
			return values, nil
		case <-tell:
			if told == "" {
				writeLine(out, "waiting for the secrets "+strings.Join(jobs.SecretNames(a.job.Secrets), ", ")+": no orchestrator has sent them yet")
			}
		case <-limit:
			a.Stops().Ask(attempt.Stop{Status: report.AttemptTimedOut, Text: fmt.Sprintf("timed out after %v, waiting for its secrets", jobs.ShortDuration(a.job.Timeout))})
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// timeOut fires when an attempt has used its time up; never without a time-out.
func timeOut(d time.Duration) <-chan time.Time {
	if d <= 0 {
		return nil
	}
	return time.After(d)
}

// writeLine writes a line of modpipe's own into the log of a module.
func writeLine(out exec.Sink, text string) { out.Write(jobs.Stderr, []byte("modpipe: "+text+"\n")) }
