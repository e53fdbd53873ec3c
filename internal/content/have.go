package content

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/pause"
)

const (
	// Hold is how long a sweep keeps a value, and what it refers to, after a writer
	// was told that it is there.
	Hold = 24 * time.Hour

	haveRounds = 8 // how often another writer may change an entry between its reading and its renewal
)

// Have reports which values are stored, by their namespaces: the store's own, or one
// of those from which it reads. It takes a few round trips for all.
//
// What it reports stays for Hold: it renews the entries of its own namespace, and
// accepts a value of another one only if that was renewed within half of Hold. It
// believes a replica that a value is missing only if the leader says so, too.
func (s Store) Have(ctx context.Context, digests []Digest) (map[Digest]string, error) {
	have := make(map[Digest]string, len(digests))
	if len(digests) == 0 {
		return have, nil
	}
	_, s.age = s.known(ctx)
	if err := s.haveOwn(ctx, digests, have); err != nil {
		return nil, fmt.Errorf("ask for %d values in %s: %w", len(digests), s.bucket, err)
	}
	for _, from := range s.from {
		other := s
		other.namespace = from
		missing := lacking(digests, have)
		entries, err := other.entries(ctx, missing)
		if err != nil {
			return nil, fmt.Errorf("ask for %d values in %s: %w", len(missing), s.bucket, err)
		}
		for d, e := range entries {
			if e.Held && time.Since(e.stored) < Hold/2 {
				have[d] = from
			}
		}
	}
	return have, nil
}

func lacking(digests []Digest, have map[Digest]string) (missing []Digest) {
	for _, d := range digests {
		if _, ok := have[d]; !ok {
			missing = append(missing, d)
		}
	}
	return missing
}

// entries reads the entries of the usable ones among values.
func (s Store) entries(ctx context.Context, digests []Digest) (map[Digest]*entry, error) {
	subjects := make([]string, len(digests))
	for i, d := range digests {
		subjects[i] = s.entrySubject(d)
	}
	found, err := s.get(ctx, subjects, entryBytes)
	entries := map[Digest]*entry{}
	for i, m := range found {
		if m.Msg == nil {
			continue
		}
		if e, err := s.parseEntry(m); err == nil && e.Digest == digests[i] && s.usable(e) {
			entries[e.Digest] = e
		}
	}
	return entries, err
}

// haveOwn finds and renews the values of the own namespace.
func (s Store) haveOwn(ctx context.Context, digests []Digest, have map[Digest]string) error {
	began := time.Now()
	var there map[Digest]bool // by the leader; nil = it was not asked
	backoff := pause.NewBackOff()
	for round := 0; len(digests) > 0; round++ {
		changed, err := s.haveNow(ctx, digests, have, round)
		if err != nil {
			return err
		}
		missing := lacking(lacking(digests, have), changed)
		if len(missing) > 0 && there == nil && s.replicated(ctx) {
			if there, err = s.atLeader(ctx, missing); err != nil {
				return err
			}
		}
		digests = changed.list()
		if time.Since(began) > patience {
			continue
		}
		for _, d := range missing {
			if there[d] { // the replica is behind
				digests = append(digests, d)
			}
		}
		if len(digests) == len(changed) {
			continue
		}
		if err := pause.For(ctx, backoff.NextBackOff()); err != nil {
			return err
		}
	}
	return nil
}

// haveNow finds and renews what one replica has. It returns the values whose entries
// another writer has changed in the meantime.
func (s Store) haveNow(ctx context.Context, digests []Digest, have map[Digest]string, round int) (changes, error) {
	entries, err := s.entries(ctx, digests)
	if err != nil {
		return nil, err
	}
	var renew []*entry
	for d, e := range entries {
		if round == haveRounds || round > 0 && e.Held && time.Since(e.stored) < Hold/4 { // another writer has renewed it
			have[d] = s.namespace
			continue
		}
		renew = append(renew, e)
	}
	return s.renew(ctx, renew, have)
}

// changes are values whose entries have changed since they were read.
type changes map[Digest]string

func (c changes) list() (digests []Digest) {
	for d := range c {
		digests = append(digests, d)
	}
	return digests
}

// renew writes entries again. It returns those that have changed since they were
// read, and notes the others.
func (s Store) renew(ctx context.Context, entries []*entry, have map[Digest]string) (changes, error) {
	changed := changes{}
	messages := make([]*nats.Msg, len(entries))
	for i, e := range entries {
		e.Held = true
		m, err := s.message(e)
		if err != nil {
			return nil, err
		}
		messages[i] = m
		jetstream.ExpectLast(messages[i], e.seq)
	}
	results, err := s.storeAll(ctx, messages)
	if err != nil {
		return nil, err
	}
	for i, err := range results {
		switch {
		case err == nil:
			have[entries[i].Digest] = s.namespace
		case errors.Is(err, jetstream.ErrConflict):
			changed[entries[i].Digest] = ""
		default:
			return nil, err
		}
	}
	return changed, nil
}

// lastSequence finds the sequence in the refusal of a compare-and-set.
var lastSequence = regexp.MustCompile(`wrong last sequence: (\d+)`)

// atLeader asks the leader for the entries of values that a replica lacks, and
// returns those that it has. It asks by a compare-and-set that is always refused,
// which needs no permission but that to write entries.
func (s Store) atLeader(ctx context.Context, digests []Digest) (map[Digest]bool, error) {
	messages := make([]*nats.Msg, len(digests))
	for i, d := range digests {
		messages[i] = &nats.Msg{Subject: s.entrySubject(d)}
		jetstream.ExpectLast(messages[i], impossible)
	}
	results, err := s.storeAll(ctx, messages)
	if err != nil {
		return nil, err
	}
	there := make(map[Digest]bool, len(digests))
	for i, err := range results {
		if !errors.Is(err, jetstream.ErrConflict) {
			return nil, fmt.Errorf("ask the leader of %s for %s: %w", s.stream(), digests[i], err)
		}
		m := lastSequence.FindStringSubmatch(err.Error())
		there[digests[i]] = m != nil && m[1] != "0"
	}
	return there, nil
}

// impossible is a sequence that no message has.
const impossible = 1 << 62
