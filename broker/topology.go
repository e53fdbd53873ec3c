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

	"github.com/modpipe/modpipe/jobs"
)

// AckWait is how long a delivered job may stay without a sign of life.
const AckWait = 10 * time.Second

// Limits of what is made here. The sizes are not powers of two: a stream that
// is promised exactly what a server has leaves no place for another.
const (
	jobsBytes    = 1000 << 20
	runsBytes    = 4000 << 20
	logsBytes    = 8000 << 20
	blobsBytes   = 8000 << 20
	leastBytes   = 16 << 20 // what a limit is lowered to on a small server
	logsAge      = 7 * 24 * time.Hour
	blobsAge     = 30 * 24 * time.Hour
	maxConsumers = 100_000 // the server's own default is 1000
	maxWaiting   = 20_000  // requests on a lane; the default of 512 cannot be changed later
	laneIdle     = 7 * 24 * time.Hour
	feedIdle     = 10 * time.Second
	feedBeat     = time.Second
)

// streams are modpipe's streams. Each is made when it is missing and never
// changed afterwards: whoever runs NATS may have made it otherwise.
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

// Ensure makes what is missing of the streams again (a memory stream is gone
// after a restart of the server).
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

// ensureStream makes a stream unless it is there, and returns the
// configuration that it has. A permission that is denied counts only when the
// stream is known to be missing.
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

// createStream makes a stream, with a lower limit where the server's store is
// smaller than the limit.
//
// One after the other: a server that is asked for several at once may promise
// them more than it has, and then refuses whatever is made next.
func (c *Conn) createStream(ctx context.Context, cfg jetstream.StreamConfig) error {
	select {
	case c.making <- struct{}{}:
		defer func() { <-c.making }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for {
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
		case noRoomFor(err) && cfg.MaxBytes > 0: // all is promised to others: share what is not used
			cfg.MaxBytes = -1
		default:
			return unplaced(cfg, err)
		}
	}
}

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

// EnsureLane makes the lane's durable consumer.
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
	if code := errorCode(err); code == 10148 || code == 10105 { // it exists, made otherwise: whoever runs NATS wants it so
		return nil
	}
	if err != nil {
		return fmt.Errorf("make lane %s: %w", lane, err)
	}
	return nil
}

// restoreLane makes a lane's consumer where the server has lost it, and the
// queue before that, where it is lost, too.
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

// createConsumer makes a consumer, again while the trouble is transient.
func (c *Conn) createConsumer(ctx context.Context, stream string, cfg jetstream.ConsumerConfig) error {
	_, err := retry(ctx, c, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.createConsumerOnce(ctx, stream, cfg, nil)
	})
	return err
}

// createConsumerOnce makes a consumer; info, unless nil, is filled with what
// the server says of it. A cluster that lacks resources for one has none of
// the servers that hold the stream just now: they will be back.
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

// api asks the JetStream API, again while the trouble is transient.
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
	Memory    bool          // in memory: gone after a restart of the server
	TTL       time.Duration // of every entry; 0 = none
	MarkerTTL time.Duration // at least 1 s: a watcher hears of an entry's end by age
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
