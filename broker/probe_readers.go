package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Deaf is a reader whose position is beyond the end of its stream: the stream was
// recreated, and its new messages do not reach the reader.
type Deaf struct {
	Stream        string
	Consumer      string
	Position, End uint64 // sequences: of the reader, and the last of the stream
}

// DeafReaders finds deaf readers of the streams, and of the buckets of these
// kinds, among those that one answer of the server lists.
func (c *Conn) DeafReaders(ctx context.Context, buckets ...string) ([]Deaf, error) {
	var found []Deaf
	streams := c.streams()
	for _, kind := range buckets {
		streams = append(streams, c.bucketStream(BucketConfig{Kind: kind}))
	}
	for _, cfg := range streams {
		deaf, err := c.deafIn(ctx, cfg.Name)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		found = append(found, deaf...)
	}
	return found, nil
}

func (c *Conn) deafIn(ctx context.Context, stream string) ([]Deaf, error) {
	m, err := c.apiOnce(ctx, "CONSUMER.LIST."+stream, nil)
	if err != nil {
		return nil, fmt.Errorf("list the readers of %s: %w", stream, err)
	}
	var list struct {
		Consumers []*jetstream.ConsumerInfo `json:"consumers"`
	}
	if err := json.Unmarshal(m.Data, &list); err != nil {
		return nil, fmt.Errorf("read the list of readers of %s: %w", stream, err)
	}
	info, err := c.streamInfoOnce(ctx, stream) // after the list: it ends where they read, or later
	if err != nil {
		return nil, err
	}
	var deaf []Deaf
	for _, reader := range list.Consumers {
		at := reader.Delivered.Stream
		if reader.Config.OptStartSeq > 0 {
			at = max(at, reader.Config.OptStartSeq-1)
		}
		if at > info.State.LastSeq {
			deaf = append(deaf, Deaf{Stream: stream, Consumer: reader.Name, Position: at, End: info.State.LastSeq})
		}
	}
	return deaf, nil
}
