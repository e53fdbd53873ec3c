package natsprobe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology/streams"
)

// LeastServer is the oldest supported server: buckets need
// entries that leave markers when they expire.
const LeastServer = "2.11.0"

// Probe asks one server.
type Probe struct {
	c       *jetstream.Conn
	buckets []string // names
}

// New returns a probe of the server of a connection, for the streams and for the
// buckets of these names.
func New(c *jetstream.Conn, buckets ...string) *Probe { return &Probe{c, buckets} }

// Server describes a server.
type Server struct {
	jetstream.Server
	RoundTrip time.Duration // the shortest of three
}

// Server describes the server, which must answer a ping before ctx ends.
func (p *Probe) Server(ctx context.Context) (Server, error) {
	s := Server{Server: p.c.Server(), RoundTrip: math.MaxInt64}
	for range 3 {
		began := time.Now()
		if err := p.c.Ping(ctx); err != nil {
			return s, fmt.Errorf("ping %s: %w", s.URL, err)
		}
		s.RoundTrip = min(s.RoundTrip, time.Since(began))
	}
	return s, nil
}

// JetStream returns why JetStream cannot be used; nil when it can.
func (p *Probe) JetStream(ctx context.Context) error { return p.c.CheckJetStream(ctx) }

// Account has the limits of the account, -1 = none, and their use.
type Account struct {
	Storage, MaxStorage     int64
	Memory, MaxMemory       int64
	Streams, MaxStreams     int
	Consumers, MaxConsumers int
}

// Account asks JetStream for the limits of the account, for streams of so many
// replicas.
func (p *Probe) Account(ctx context.Context, replicas int) (Account, error) {
	m, err := p.c.APIOnce(ctx, "INFO", nil)
	if err != nil {
		return Account{}, fmt.Errorf("ask for the limits of the account: %w", err)
	}
	var info natsjs.AccountInfo
	if err := json.Unmarshal(m.Data, &info); err != nil {
		return Account{}, fmt.Errorf("read the limits of the account: %w", err)
	}
	tier := info.Tier
	if t, ok := info.Tiers[fmt.Sprintf("R%d", max(replicas, 1))]; ok {
		tier = t
	}
	return Account{
		Storage: int64(tier.Store), MaxStorage: tier.Limits.MaxStore,
		Memory: int64(tier.Memory), MaxMemory: tier.Limits.MaxMemory,
		Streams: tier.Streams, MaxStreams: tier.Limits.MaxStreams,
		Consumers: tier.Consumers, MaxConsumers: tier.Limits.MaxConsumers,
	}, nil
}

// wanted returns the streams, and then those of the buckets, with their defaults.
func (p *Probe) wanted() []natsjs.StreamConfig {
	all := streams.Settings()
	for _, name := range p.buckets {
		all = append(all, jetstream.BucketStream(jetstream.BucketConfig{Name: name, Shared: name == streams.Bucket("workers")}))
	}
	return all
}

// Clock compares this machine's clock with the server's. It returns how far this
// one is ahead, and the precision, or ErrNotFound when there is no stream to ask
// about.
func (p *Probe) Clock(ctx context.Context) (ahead, within time.Duration, err error) {
	within = math.MaxInt64
	err = jetstream.ErrNotFound
	for _, cfg := range streams.Settings() {
		began := time.Now()
		info, ierr := p.c.StreamInfoOnce(ctx, cfg.Name)
		took := time.Since(began)
		if ierr != nil || info.TimeStamp.IsZero() {
			if !errors.Is(ierr, jetstream.ErrNotFound) && ierr != nil {
				err = ierr
			}
			continue
		}
		if took/2 < within {
			ahead, within = began.Add(took/2).Sub(info.TimeStamp), took/2
		}
	}
	if within == math.MaxInt64 {
		return 0, 0, fmt.Errorf("ask for the server's time: %w", err)
	}
	return ahead, within, nil
}
