package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// LeastServer is the oldest supported server: the registry of workers needs
// entries that leave markers when they expire.
const LeastServer = "2.11.0"

// Attach connects without creating anything, now or later. It is for programs that
// only read.
func Attach(ctx context.Context, cfg Config) (*Conn, error) {
	c, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	c.mended.Store(math.MaxInt64) // never again
	c.denied.strict = true
	return c, nil
}

// ServerFacts describe a server.
type ServerFacts struct {
	URL, Name, Version, Cluster string
	RoundTrip                   time.Duration
	MaxPayload                  int64
}

// ServerFacts asks the server, which must answer a ping before ctx ends.
func (c *Conn) ServerFacts(ctx context.Context) (ServerFacts, error) {
	f := ServerFacts{
		URL: c.URL(), Name: c.nc.ConnectedServerName(), Version: c.nc.ConnectedServerVersion(),
		Cluster: c.nc.ConnectedClusterName(), MaxPayload: c.nc.MaxPayload(),
	}
	f.RoundTrip = math.MaxInt64
	for range 3 {
		began := time.Now()
		if err := c.nc.FlushWithContext(ctx); err != nil {
			return f, fmt.Errorf("ping %s: %w", f.URL, err)
		}
		f.RoundTrip = min(f.RoundTrip, time.Since(began))
	}
	return f, nil
}

// JetStream returns why JetStream cannot be used; nil when it can.
func (c *Conn) JetStream(ctx context.Context) error { return c.checkJetStream(ctx) }

// AccountFacts are the limits of the account, -1 = none, and their use.
type AccountFacts struct {
	Storage, MaxStorage     int64
	Memory, MaxMemory       int64
	Streams, MaxStreams     int
	Consumers, MaxConsumers int
}

// AccountFacts asks JetStream for the limits of the account.
func (c *Conn) AccountFacts(ctx context.Context) (AccountFacts, error) {
	m, err := c.apiOnce(ctx, "INFO", nil)
	if err != nil {
		return AccountFacts{}, fmt.Errorf("ask for the limits of the account: %w", err)
	}
	var info jetstream.AccountInfo
	if err := json.Unmarshal(m.Data, &info); err != nil {
		return AccountFacts{}, fmt.Errorf("read the limits of the account: %w", err)
	}
	tier := info.Tier
	if t, ok := info.Tiers[fmt.Sprintf("R%d", max(c.cfg.Replicas, 1))]; ok {
		tier = t
	}
	return AccountFacts{
		Storage: int64(tier.Store), MaxStorage: tier.Limits.MaxStore,
		Memory: int64(tier.Memory), MaxMemory: tier.Limits.MaxMemory,
		Streams: tier.Streams, MaxStreams: tier.Limits.MaxStreams,
		Consumers: tier.Consumers, MaxConsumers: tier.Limits.MaxConsumers,
	}, nil
}

// Asset describes an existing stream or bucket.
type Asset struct {
	Name            string // of the stream or bucket
	Err             error  // why it cannot be read: ErrNotFound when it is missing
	Memory          bool
	Replicas        int
	Bytes, MaxBytes int64 // MaxBytes is -1 without a limit
	Refuses         bool  // new messages when it is full
	TTL, MarkerTTL  time.Duration
	Differences     []Difference
}

// Difference is a setting of an asset that differs from the default and matters.
type Difference struct {
	Text   string
	Breaks bool // runs do not work with it
}

// Assets describes the streams, and the buckets of these kinds.
func (c *Conn) Assets(ctx context.Context, buckets ...string) []Asset {
	wanted := c.streams()
	for _, kind := range buckets {
		wanted = append(wanted, c.bucketStream(BucketConfig{Kind: kind}))
	}
	assets := make([]Asset, len(wanted))
	each(len(wanted), func(i int) { assets[i] = c.asset(ctx, &wanted[i]) })
	for i, kind := range buckets {
		assets[len(assets)-len(buckets)+i].Name = c.names.bucket(kind)
	}
	return assets
}

func (c *Conn) asset(ctx context.Context, want *jetstream.StreamConfig) Asset {
	a := Asset{Name: want.Name}
	info, err := c.streamInfoOnce(ctx, want.Name)
	if err != nil {
		a.Err = err
		return a
	}
	have := &info.Config
	a.Memory, a.Replicas = have.Storage == jetstream.MemoryStorage, have.Replicas
	a.Bytes, a.MaxBytes = int64(min(info.State.Bytes, math.MaxInt64)), have.MaxBytes
	a.Refuses = have.MaxBytes > 0 && have.Discard == jetstream.DiscardNew
	a.TTL, a.MarkerTTL = have.MaxAge, have.SubjectDeleteMarkerTTL
	a.Differences = differences(want, have)
	return a
}

// differences compares the important settings of a stream with the defaults.
func differences(want, have *jetstream.StreamConfig) []Difference {
	var found []Difference
	note := func(differs, breaks bool, format string, args ...any) {
		if differs {
			found = append(found, Difference{fmt.Sprintf(format, args...), breaks})
		}
	}
	for _, s := range want.Subjects {
		note(!slices.Contains(have.Subjects, s), true, "it does not store %s", s)
	}
	note(have.Retention != want.Retention, true, "its retention is %s instead of %s", strings.ToLower(have.Retention.String()), strings.ToLower(want.Retention.String()))
	note(have.NoAck, true, "it acknowledges nothing (no_ack)")
	note(have.Sealed, true, "it is sealed")
	note(want.MaxMsgsPerSubject < 0 && have.MaxMsgsPerSubject > 0, true, "it keeps only %d messages of a subject", have.MaxMsgsPerSubject)
	note(have.Discard != want.Discard && (have.MaxBytes > 0 || have.MaxMsgs > 0), want.Discard == jetstream.DiscardNew,
		"when it is full it discards %s messages instead of %s ones", discarded(have.Discard), discarded(want.Discard))
	note(have.MaxMsgs > 0, false, "it holds at most %d messages", have.MaxMsgs)
	note(have.MaxMsgSize > 0 && have.MaxMsgSize < blobAbove+headRoom, true, "it refuses messages above %d bytes; up to %d are sent", have.MaxMsgSize, blobAbove+headRoom)
	note(want.MaxAge == 0 && have.MaxAge > 0 && !bucketName(want.Name), false, "what is older than %v is gone", have.MaxAge)
	note(want.Storage == jetstream.FileStorage && have.Storage != want.Storage && !bucketName(want.Name), false, "it is in memory: a restart of the server loses it")
	note(want.AllowDirect && !have.AllowDirect, false, "it does not allow direct gets")
	note(want.AllowRollup && !have.AllowRollup, false, "it does not allow roll-ups")
	note(have.MaxConsumers > 0 && have.MaxConsumers < 1000, false, "it has room for %d consumers: one a lane or reader", have.MaxConsumers)
	note(want.RePublish != nil && have.RePublish == nil, false, "it republishes nothing to %s: workers find a job up to a second late", republished(want))
	return found
}

func discarded(p jetstream.DiscardPolicy) string {
	if p == jetstream.DiscardNew {
		return "new"
	}
	return "old"
}

func republished(cfg *jetstream.StreamConfig) string {
	if cfg.RePublish == nil {
		return ""
	}
	return cfg.RePublish.Destination
}

// bucketName reports whether a stream is a KV bucket, whose age and storage
// its users choose.
func bucketName(stream string) bool { return len(stream) > 3 && stream[:3] == "KV_" }

// LaneDifferences compares the consumers of lanes, as many as one answer holds,
// with the defaults. It returns their number and the differences.
func (c *Conn) LaneDifferences(ctx context.Context) (lanes int, found []Difference, err error) {
	m, err := c.apiOnce(ctx, "CONSUMER.LIST."+c.names.jobsStream(), nil)
	if err != nil {
		return 0, nil, fmt.Errorf("list the lanes: %w", err)
	}
	var list struct {
		Total     int                       `json:"total"`
		Consumers []*jetstream.ConsumerInfo `json:"consumers"`
	}
	if err := json.Unmarshal(m.Data, &list); err != nil {
		return 0, nil, fmt.Errorf("read the list of lanes: %w", err)
	}
	for _, info := range list.Consumers {
		found = append(found, laneDifferences(&info.Config)...)
	}
	return list.Total, found, nil
}

func laneDifferences(have *jetstream.ConsumerConfig) (found []Difference) {
	note := func(differs, breaks bool, format string, args ...any) {
		if differs {
			found = append(found, Difference{"lane " + have.Durable + ": " + fmt.Sprintf(format, args...), breaks})
		}
	}
	note(have.AckPolicy != jetstream.AckExplicitPolicy, true, "its acknowledgements are %s instead of explicit", have.AckPolicy)
	note(have.MaxDeliver > 0, true, "a job is lost after %d deliveries (max_deliver)", have.MaxDeliver)
	note(have.MaxAckPending > 0, false, "at most %d of its jobs run at once (max_ack_pending)", have.MaxAckPending)
	note(have.MaxWaiting > 0 && have.MaxWaiting < maxWaiting, false, "it drops requests above %d (max_waiting): workers wait longer than they must", have.MaxWaiting)
	note(have.AckWait < AckWait, false, "a job comes again after %v without a sign of life (ack_wait), instead of %v", have.AckWait, AckWait)
	return found
}

// Clock compares this machine's clock with the server's. It returns how far this
// one is ahead, and the precision, or ErrNotFound when there is no stream to ask
// about.
func (c *Conn) Clock(ctx context.Context) (ahead, within time.Duration, err error) {
	within = math.MaxInt64
	err = ErrNotFound
	for _, cfg := range c.streams() {
		began := time.Now()
		info, ierr := c.streamInfoOnce(ctx, cfg.Name)
		took := time.Since(began)
		if ierr != nil || info.TimeStamp.IsZero() {
			if !errors.Is(ierr, ErrNotFound) && ierr != nil {
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
