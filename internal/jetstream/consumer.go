package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// maxConsumers is the limit of a created stream; the server's own default is 1000.
const maxConsumers = 100_000

// Answers of a server that has the consumer with another configuration.
const (
	codeConsumerExists  jetstream.ErrorCode = 10148
	codeConsumerDiffers jetstream.ErrorCode = 10105
)

// EnsureConsumer creates a consumer unless it exists, with any configuration.
func (c *Conn) EnsureConsumer(ctx context.Context, stream string, cfg jetstream.ConsumerConfig) error {
	_, err := retry(ctx, c, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.createConsumerOnce(ctx, stream, cfg, nil)
	})
	if code := errorCode(err); code == codeConsumerExists || code == codeConsumerDiffers {
		return nil
	}
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
	m, err := c.APIOnce(ctx, subject, body)
	if errorCode(err) == codeNoResources {
		if c.room.due("consumers of "+stream, time.Now()) {
			c.log.Warn("NATS has no place for a reader: are the servers up that hold the stream, and is max_ha_assets reached? Trying again", "stream", stream, "url", c.URL(), "error", err)
		}
		return fmt.Errorf("%w: a consumer has no place: %s", ErrNotReady, err.Error())
	}
	if err != nil || info == nil {
		return err
	}
	return json.Unmarshal(m.Data, info)
}

// ConsumerInfo returns the state of a consumer, or ErrNotFound.
func (c *Conn) ConsumerInfo(ctx context.Context, stream, name string) (*jetstream.ConsumerInfo, error) {
	m, err := c.API(ctx, "CONSUMER.INFO."+stream+"."+name, nil)
	if err != nil {
		return nil, err
	}
	info := new(jetstream.ConsumerInfo)
	return info, json.Unmarshal(m.Data, info)
}

// dropConsumer deletes a reader's consumer without waiting: the server drops
// it anyway after feedIdle.
func (c *Conn) dropConsumer(stream, name string) {
	if c.nc.IsConnected() {
		c.calls.send(&nats.Msg{Subject: apiPrefix + "CONSUMER.DELETE." + stream + "." + name}, func(*nats.Msg, error) {})
	}
}
