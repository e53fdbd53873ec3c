package process

import (
	"context"
	"log/slog"
	"time"
)

// guard does nothing here: Windows has no process groups that signals reach.
type guard struct{}

// account is always empty here.
type account struct {
	ended  time.Time
	paused time.Duration
	killed time.Time
}

func newGuard(*slog.Logger) (*guard, error) { return nil, nil }

func (*guard) starts(string, bool)      {}
func (*guard) notStarted(string)        {}
func (*guard) begun(*process, bool)     {}
func (*guard) ended(*process)           {}
func (*guard) beat(time.Time)           {}
func (*guard) account(*process) account { return account{} }
func (*guard) close()                   {}

// Beat does nothing here.
func (x *Executor) Beat(time.Time) {}

// Watch does nothing here.
func (x *Executor) Watch(context.Context, time.Duration, func() time.Time) error { return nil }
