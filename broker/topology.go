package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/jobs"
)

// AckWait is how long a delivered job may stay without Ack or InProgress.
const AckWait = 10 * time.Second

// Limits of streams and consumers. The sizes are not powers of two: a stream that
// reserves the whole store of a server leaves no place for another stream.
const (
	jobsBytes    = 1000 << 20
	runsBytes    = 4000 << 20
	logsBytes    = 8000 << 20
	blobsBytes   = 8000 << 20
	leastBytes   = 16 << 20 // the lowest limit on a small server
	logsAge      = 7 * 24 * time.Hour
	blobsAge     = 30 * 24 * time.Hour
	maxConsumers = 100_000 // the server's own default is 1000
	maxWaiting   = 20_000  // requests on a lane; the default of 512 cannot be changed later
	laneIdle     = 7 * 24 * time.Hour
	feedIdle     = 10 * time.Second
	feedBeat     = time.Second
)

// streams returns modpipe's streams. A missing stream is created, an existing one
// never changed, because the administrator of NATS may have configured it.
func (c *Conn) streams() []jetstream.StreamConfig {
	base := jetstream.StreamConfig{
		Storage: c.storage(), Replicas: cmp.Or(c.cfg.Replicas, 1), MaxConsumers: maxConsumers,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1,
	}
	queue := base
	queue.Name, queue.Subjects = c.names.jobsStream(), []string{c.names.jobsAll()}
	queue.Retention, queue.Discard, queue.MaxBytes = jetstream.WorkQueuePolicy, jetstream.DiscardNew, jobsBytes
	queue.Duplicates = 100 * time.Millisecond
	queue.RePublish = &jetstream.RePublish{Source: c.names.jobsAll(), Destination: c.names.bellsAll(), HeadersOnly: true}

	runs := base
	runs.Name, runs.Subjects, runs.AllowDirect = c.names.runsStream(), []string{c.names.runsAll()}, true
	runs.Duplicates = 100 * time.Millisecond
	runs.Discard, runs.MaxBytes = jetstream.DiscardNew, runsBytes

	logs := base
	logs.Name, logs.Subjects = c.names.logsStream(), []string{c.names.logsAll()}
	logs.MaxBytes, logs.MaxAge, logs.Compression = logsBytes, logsAge, jetstream.S2Compression
	logs.Duplicates, logs.AllowDirect = 2*time.Minute, true

	blobs := base
	blobs.Name, blobs.Subjects = "OBJ_"+c.names.blobs(), []string{"$O." + c.names.blobs() + ".C.>", "$O." + c.names.blobs() + ".M.>"}
	blobs.MaxBytes, blobs.MaxAge, blobs.Compression = blobsBytes, blobsAge, jetstream.S2Compression
	blobs.Discard, blobs.AllowRollup, blobs.AllowDirect = jetstream.DiscardNew, true, true
	return []jetstream.StreamConfig{queue, runs, logs, blobs}
}

func (c *Conn) storage() jetstream.StorageType {
	if c.cfg.Memory {
		return jetstream.MemoryStorage
	}
	return jetstream.FileStorage
}

// Ensure creates the missing streams. (A restart of the server removes memory
// streams.)
func (c *Conn) Ensure(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, cfg := range c.streams() {
		g.Go(func() error {
			_, err := c.ensureStream(ctx, cfg)
			return err
		})
	}
	return g.Wait()
}

// ensureStream creates a stream unless it exists, and returns its configuration. A
// denied permission is an error only when the stream is known to be missing.
func (c *Conn) ensureStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.StreamConfig, error) {
	have, err := c.streamInfo(ctx, cfg.Name)
	switch {
	case err == nil:
		return have.Config, nil
	case errors.Is(err, ErrDenied):
		return cfg, nil
	case !errors.Is(err, ErrNotFound):
		return cfg, fmt.Errorf("look for stream %s: %w", cfg.Name, err)
	}
	if err := c.createStream(ctx, cfg); err != nil {
		return cfg, fmt.Errorf("make stream %s: %w", cfg.Name, err)
	}
	return cfg, nil
}

// createStream creates a stream, with a lower limit if the server's store is
// smaller than the limit.
//
// It creates one stream after the other: a server that creates several at once
// may reserve more than it has, and then refuses all further streams. A server
// that two programs ask for the same stream at the same moment may fail one of
// them, so a failure to create the store is tried again.
func (c *Conn) createStream(ctx context.Context, cfg jetstream.StreamConfig) error {
	select {
	case c.making <- struct{}{}:
		defer func() { <-c.making }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for tries := 1; ; {
		body, err := json.Marshal(cfg)
		if err != nil {
			return err
		}
		_, err = c.api(ctx, "STREAM.CREATE."+cfg.Name, body)
		switch {
		case err == nil, errorCode(err) == codeNameInUse:
			return nil
		case noRoomFor(err) && cfg.MaxBytes > leastBytes:
			cfg.MaxBytes /= 2
		case noRoomFor(err) && cfg.MaxBytes > 0: // other streams reserve the whole store: take a part of the unused space
			cfg.MaxBytes = -1
		case errorCode(err) == codeNotCreated && tries < creations:
			if pause.For(ctx, time.Duration(tries)*50*time.Millisecond) != nil {
				return context.Cause(ctx)
			}
			tries++
		default:
			return unplaced(cfg, err)
		}
	}
}

// creations is how often the creation of a stream is tried whose store the server
// could not create.
const creations = 5

func (c *Conn) streamInfo(ctx context.Context, stream string) (*jetstream.StreamInfo, error) {
	return retry(ctx, c, func(ctx context.Context) (*jetstream.StreamInfo, error) { return c.streamInfoOnce(ctx, stream) })
}

func (c *Conn) streamInfoOnce(ctx context.Context, stream string) (*jetstream.StreamInfo, error) {
	m, err := c.apiOnce(ctx, "STREAM.INFO."+stream, nil)
	if err != nil {
		return nil, err
	}
	info := new(jetstream.StreamInfo)
	if err := json.Unmarshal(m.Data, info); err != nil {
		return nil, fmt.Errorf("read the state of stream %s: %w", stream, err)
	}
	return info, nil
}

// EnsureLane creates the lane's durable consumer unless it exists.
func (c *Conn) EnsureLane(ctx context.Context, lane jobs.Lane) error {
	if !validToken(string(lane)) {
		return fmt.Errorf("%q cannot name a lane", lane)
	}
	filter := c.names.jobsOf(lane)
	cfg := jetstream.ConsumerConfig{
		Name: string(lane), Durable: string(lane), FilterSubject: filter,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: AckWait, MaxDeliver: -1, MaxAckPending: -1,
		MaxWaiting: maxWaiting, InactiveThreshold: laneIdle,
	}
	err := c.createConsumer(ctx, c.names.jobsStream(), cfg)
	if code := errorCode(err); code == 10148 || code == 10105 { // it exists with another configuration, which stays
		return nil
	}
	if err != nil {
		return fmt.Errorf("make lane %s: %w", lane, err)
	}
	return nil
}

// restoreLane recreates a lane's consumer that the server has lost, and before it
// the queue if that is lost, too.
func (c *Conn) restoreLane(ctx context.Context, lane jobs.Lane) error {
	err := c.EnsureLane(ctx, lane)
	if errors.Is(err, ErrNotFound) {
		c.mend(ctx)
		err = c.EnsureLane(ctx, lane)
	}
	return err
}

// feedConsumer configures the consumer of one reader.
func feedConsumer(src *source, name, inbox string) jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Name: name, DeliverSubject: inbox, AckPolicy: jetstream.AckNonePolicy, MaxDeliver: 1,
		FlowControl: true, IdleHeartbeat: cmp.Or(src.beat, feedBeat), InactiveThreshold: feedIdle, MemoryStorage: true, Replicas: 1,
		HeadersOnly: src.headers,
	}
	switch {
	case src.latest:
		cfg.DeliverPolicy = jetstream.DeliverLastPerSubjectPolicy
	case src.after > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, src.after+1
	}
	if len(src.filters) == 1 {
		cfg.FilterSubject = src.filters[0]
	} else {
		cfg.FilterSubjects = src.filters
	}
	return cfg
}

// createConsumer creates a consumer, and retries after transient errors.
func (c *Conn) createConsumer(ctx context.Context, stream string, cfg jetstream.ConsumerConfig) error {
	_, err := retry(ctx, c, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.createConsumerOnce(ctx, stream, cfg, nil)
	})
	return err
}

// createConsumerOnce creates a consumer, and fills info, unless nil, with the
// server's answer. A cluster reports a lack of resources while all servers that
// hold the stream are down; they will return.
func (c *Conn) createConsumerOnce(ctx context.Context, stream string, cfg jetstream.ConsumerConfig, info *jetstream.ConsumerInfo) error {
	body, err := json.Marshal(struct {
		Stream string                   `json:"stream_name"`
		Config jetstream.ConsumerConfig `json:"config"`
		Action string                   `json:"action"`
	}{stream, cfg, "create"})
	if err != nil {
		return err
	}
	subject := "CONSUMER.CREATE." + stream + "." + cfg.Name
	if cfg.FilterSubject != "" {
		subject += "." + cfg.FilterSubject
	}
	m, err := c.apiOnce(ctx, subject, body)
	if errorCode(err) == codeNoResources {
		if c.room.due("consumers of "+stream, time.Now()) {
			c.log.Warn("NATS has no place for a reader: are the servers up that hold the stream, and is max_ha_assets reached? Trying again", "stream", stream, "url", c.URL(), "error", err)
		}
		return fmt.Errorf("%w: a consumer has no place: %s", errNotReady, err.Error())
	}
	if err != nil || info == nil {
		return err
	}
	return json.Unmarshal(m.Data, info)
}

func (c *Conn) consumerInfo(ctx context.Context, stream, name string, info *jetstream.ConsumerInfo) error {
	m, err := c.api(ctx, "CONSUMER.INFO."+stream+"."+name, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(m.Data, info)
}

// api asks the JetStream API, and retries after transient errors.
func (c *Conn) api(ctx context.Context, subject string, body []byte) (*nats.Msg, error) {
	return retry(ctx, c, func(ctx context.Context) (*nats.Msg, error) { return c.apiOnce(ctx, subject, body) })
}

func (c *Conn) apiOnce(ctx context.Context, subject string, body []byte) (*nats.Msg, error) {
	if err := c.pinned(ctx); err != nil {
		return nil, err
	}
	m, err := c.calls.ask(ctx, &nats.Msg{Subject: "$JS.API." + subject, Data: body})
	if err != nil {
		return nil, err
	}
	return m, apiError(m.Data)
}

// BucketConfig describes a KV bucket.
type BucketConfig struct {
	Kind      string        // the bucket is <prefix>-<kind>
	Memory    bool          // in memory: a restart of the server removes it
	TTL       time.Duration // of every entry; 0 = none
	MarkerTTL time.Duration // at least 1 s: watchers receive the expiry of an entry
}

func (c *Conn) bucketStream(cfg BucketConfig) jetstream.StreamConfig {
	name := c.names.bucket(cfg.Kind)
	duplicates := 2 * time.Minute
	if cfg.TTL > 0 {
		duplicates = min(duplicates, cfg.TTL)
	}
	storage := c.storage()
	if cfg.Memory {
		storage = jetstream.MemoryStorage
	}
	return jetstream.StreamConfig{
		Name: "KV_" + name, Subjects: []string{"$KV." + name + ".>"}, Storage: storage, Replicas: cmp.Or(c.cfg.Replicas, 1),
		MaxMsgsPerSubject: 1, MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, MaxConsumers: maxConsumers, MaxAge: cfg.TTL,
		Discard: jetstream.DiscardNew, AllowRollup: true, DenyDelete: true, AllowDirect: true, Duplicates: duplicates,
		AllowMsgTTL: cfg.MarkerTTL > 0, SubjectDeleteMarkerTTL: cfg.MarkerTTL,
	}
}
