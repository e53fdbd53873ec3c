// Package kv holds typed buckets. STUB: signatures that others compile against.
package kv

import (
	"context"
	"errors"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
)

// ErrTaken says that a live worker has this name.
var ErrTaken = errors.New("a live worker has this name")

// Registry is the bucket of workers (mp-workers).
type Registry struct{}

// OpenRegistry opens or makes it; ttl counts only when it is made here (0 = 3 s).
func OpenRegistry(ctx context.Context, c *broker.Conn, ttl time.Duration) (*Registry, error) {
	panic("stub")
}

// TTL is the time after which a silent worker's entry goes.
func (r *Registry) TTL() time.Duration { panic("stub") }

// Register enters a worker for the first time: ErrTaken when another incarnation of the name lives.
func (r *Registry) Register(ctx context.Context, w jobs.Worker) error { panic("stub") }

// Beat renews the entry, waiting for the acknowledgement; makes the bucket again when the server has lost it.
func (r *Registry) Beat(ctx context.Context, w jobs.Worker) error { panic("stub") }

// Leave removes the entry.
func (r *Registry) Leave(ctx context.Context, name string) error { panic("stub") }

// List reads the live workers, by name.
func (r *Registry) List(ctx context.Context) ([]jobs.Worker, error) { panic("stub") }

// Change is one thing heard from the registry.
type Change struct {
	Worker jobs.Worker // Name alone when Gone
	Gone   bool        // the entry is absent (left or expired)
	Left   bool        // Gone by Leave: at once, not by age
	Synced bool        // everything that was there when the watch began has been sent; also after every new beginning (reconnect): the observer's clocks start anew
}

// Watch sends changes in order until ctx ends; it begins anew by itself after reconnects and when the bucket was made again.
func (r *Registry) Watch(ctx context.Context, out chan<- Change) error { panic("stub") }

// Lanes is the bucket of lanes (mp-lanes).
type Lanes struct{}

// OpenLanes opens or makes it.
func OpenLanes(ctx context.Context, c *broker.Conn) (*Lanes, error) { panic("stub") }

// Put enters a lane, if it is not there as it should be, and returns its revision.
func (l *Lanes) Put(ctx context.Context, lane jobs.Lane, set jobs.LaneSet) (uint64, error) {
	panic("stub")
}

// LaneChange is a lane that was entered, with its revision in the bucket; Synced as in Change.
type LaneChange struct {
	Lane     jobs.Lane
	Set      jobs.LaneSet
	Gone     bool
	Revision uint64
	Synced   bool
}

// Watch sends lanes until ctx ends, over reconnects.
func (l *Lanes) Watch(ctx context.Context, out chan<- LaneChange) error { panic("stub") }
