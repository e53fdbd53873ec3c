package natsprobe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology/streams"
)

// Lanes compares the consumers of lanes, as many as one answer holds,
// with the defaults. It returns their number and the differences.
func (p *Probe) Lanes(ctx context.Context) (lanes int, found []Difference, err error) {
	m, err := p.c.APIOnce(ctx, "CONSUMER.LIST."+streams.Jobs, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("list the lanes: %w", err)
	}
	var list struct {
		Total     int                    `json:"total"`
		Consumers []*natsjs.ConsumerInfo `json:"consumers"`
	}
	if err := json.Unmarshal(m.Data, &list); err != nil {
		return 0, nil, fmt.Errorf("read the list of lanes: %w", err)
	}
	for _, info := range list.Consumers {
		found = append(found, laneDifferences(&info.Config)...)
	}
	return list.Total, found, nil
}

func laneDifferences(have *natsjs.ConsumerConfig) (found []Difference) {
	note := func(differs, breaks bool, format string, args ...any) {
		if differs {
			found = append(found, Difference{"lane " + have.Durable + ": " + fmt.Sprintf(format, args...), breaks})
		}
	}
	note(have.AckPolicy != natsjs.AckExplicitPolicy, true, "its acknowledgements are %s instead of explicit", have.AckPolicy)
	note(have.MaxDeliver > 0, true, "a job is lost after %d deliveries (max_deliver)", have.MaxDeliver)
	note(have.MaxAckPending > 0, false, "at most %d of its jobs run at the same time (max_ack_pending)", have.MaxAckPending)
	note(have.MaxWaiting > 0 && have.MaxWaiting < streams.MaxWaiting, false, "it drops requests above %d (max_waiting): workers wait longer than they must", have.MaxWaiting)
	note(have.AckWait < streams.AckWait, false, "a job is delivered again after %v without a sign of progress (ack_wait), instead of %v", have.AckWait, streams.AckWait)
	return found
}

// LostReader is a reader whose position is beyond the end of its stream: the stream was
// recreated, and its new messages do not reach the reader.
type LostReader struct {
	Stream        string
	Consumer      string
	Position, End uint64 // sequences: of the reader, and the last of the stream
}

// LostReaders finds lost readers of the streams and the buckets, among those that
// one answer of the server lists.
func (p *Probe) LostReaders(ctx context.Context) ([]LostReader, error) {
	var found []LostReader
	for _, cfg := range p.wanted() {
		lost, err := p.lostIn(ctx, cfg.Name)
		if err != nil && !errors.Is(err, jetstream.ErrNotFound) {
			return nil, err
		}
		found = append(found, lost...)
	}
	return found, nil
}

func (p *Probe) lostIn(ctx context.Context, stream string) ([]LostReader, error) {
	m, err := p.c.APIOnce(ctx, "CONSUMER.LIST."+stream, nil)
	if err != nil {
		return nil, fmt.Errorf("list the readers of %s: %w", stream, err)
	}
	var list struct {
		Consumers []*natsjs.ConsumerInfo `json:"consumers"`
	}
	if err := json.Unmarshal(m.Data, &list); err != nil {
		return nil, fmt.Errorf("read the list of readers of %s: %w", stream, err)
	}
	info, err := p.c.StreamInfoOnce(ctx, stream) // after the list: its end is where they read, or later
	if err != nil {
		return nil, err
	}
	var lost []LostReader
	for _, reader := range list.Consumers {
		at := reader.Delivered.Stream
		if reader.Config.OptStartSeq > 0 {
			at = max(at, reader.Config.OptStartSeq-1)
		}
		if at > info.State.LastSeq {
			lost = append(lost, LostReader{Stream: stream, Consumer: reader.Name, Position: at, End: info.State.LastSeq})
		}
	}
	return lost, nil
}
