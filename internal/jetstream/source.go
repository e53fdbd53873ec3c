package jetstream

import (
	"cmp"
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Source describes what to read of a stream.
type Source struct {
	Stream      string
	Filters     []string // subjects
	After       uint64   // the last known sequence
	HeadersOnly bool
	Latest      bool // begin with the last message of every subject, also after every error
	Verified    bool // the reader checks the whole, so a position always counts
	// Continues makes a position count on another connection if its message is the
	// same. It is for data on which nothing depends, such as output.
	Continues bool

	Bulk         bool // much data, which must not delay other answers
	MessageBytes int  // of one message, about; 0 = unknown
	Bytes        int  // that are to come; 0 = unknown

	Began    func() error  // called before reading from the start: earlier messages do not count
	CaughtUp func() error  // called when all existing messages have been handed on, after every beginning
	Beat     time.Duration // how often the server reports that nothing is new; 0 = feedBeat
	OnBeat   func() error  // called for such a report, after all earlier messages have been handed on

	whole   bool                        // begin from the start after every error
	count   int                         // messages of the last reading that was bounded
	live    bool                        // the reader has caught up with the writers
	missing func(context.Context) error // creates the missing stream
}

const (
	feedIdle = 10 * time.Second // after which the server drops a reader's consumer
	feedBeat = time.Second
)

// consumer configures the consumer of one reader.
func (s *Source) consumer(name, inbox string) jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Name: name, DeliverSubject: inbox, AckPolicy: jetstream.AckNonePolicy, MaxDeliver: 1,
		FlowControl: true, IdleHeartbeat: cmp.Or(s.Beat, feedBeat), InactiveThreshold: feedIdle, MemoryStorage: true, Replicas: 1,
		HeadersOnly: s.HeadersOnly,
	}
	switch {
	case s.Latest:
		cfg.DeliverPolicy = jetstream.DeliverLastPerSubjectPolicy
	case s.After > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, s.After+1
	}
	if len(s.Filters) == 1 {
		cfg.FilterSubject = s.Filters[0]
	} else {
		cfg.FilterSubjects = s.Filters
	}
	return cfg
}

// silence is how long a consumer may be silent before it counts as lost.
func (s *Source) silence() time.Duration { return 4 * cmp.Or(s.Beat, feedBeat) }

// position identifies the stream and the connection in which a feed's last
// sequence counts.
type position struct {
	begun      bool // a consumer was created
	connection uint64
	created    time.Time // of the stream; zero = unknown
	stored     time.Time // when the message at the position was
}

// counts reports whether the next consumer may begin after the last sequence.
func (p *position) counts(s *Source, connection uint64) bool {
	switch {
	case s.Verified, !p.begun:
		return true
	case s.Continues:
		return p.connection != 0
	}
	return p.connection == connection && !s.Latest && !s.whole
}
