package streams

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The streams.
const (
	Jobs = "MP_JOBS"
	Runs = "MP_RUNS"
	Logs = "MP_LOGS"
)

// BlobsBucket is the object store of large values, and Blobs its stream.
const (
	BlobsBucket = "mp-blobs"
	Blobs       = "OBJ_" + BlobsBucket
)

// The subjects that a stream stores, and those on which it announces jobs.
const (
	AllJobs    = "mp.job.>"
	AllBells   = "mp.bell.>"
	AllRecords = "mp.run.>"
	AllLogs    = "mp.log.>"
)

// Bucket is the name of the KV bucket of a kind.
func Bucket(kind string) string { return "mp-" + kind }

// AckWait is how long a delivered job may stay without an acknowledgement or a
// sign of progress.
const AckWait = 10 * time.Second

// BlobsAge is how long a value is kept at most that is not stored again. A value is
// stored again after a third of it, and so may be all to which that refers: what was just
// stored has a third left, which is as long as the logs of runs are kept.
const BlobsAge = 90 * 24 * time.Hour

// RunsBytes and BlobsBytes are the limits of created streams. The sizes are not
// powers of two: a stream that reserves the whole store of a server leaves no place
// for another stream.
const (
	RunsBytes  = 4000 << 20
	BlobsBytes = 8000 << 20
	jobsBytes  = 1000 << 20
	logsBytes  = 8000 << 20
)

const (
	logsAge      = 7 * 24 * time.Hour
	maxConsumers = 100_000 // the server's own default is 1000
	laneIdle     = 7 * 24 * time.Hour

	// MaxWaiting is how many requests wait on a lane. The server's default of 512
	// cannot be changed later.
	MaxWaiting = 20_000
)

// Settings returns the streams. A connection creates a missing one, and never
// changes an existing one.
func Settings() []jetstream.StreamConfig {
	base := jetstream.StreamConfig{
		Storage: jetstream.FileStorage, MaxConsumers: maxConsumers,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1,
	}
	queue := base
	queue.Name, queue.Subjects = Jobs, []string{AllJobs}
	queue.Retention, queue.Discard, queue.MaxBytes = jetstream.WorkQueuePolicy, jetstream.DiscardNew, jobsBytes
	queue.Duplicates = 100 * time.Millisecond
	queue.RePublish = &jetstream.RePublish{Source: AllJobs, Destination: AllBells, HeadersOnly: true}

	runs := base
	runs.Name, runs.Subjects, runs.AllowDirect = Runs, []string{AllRecords}, true
	runs.Duplicates = 100 * time.Millisecond
	runs.Discard, runs.MaxBytes = jetstream.DiscardNew, RunsBytes

	logs := base
	logs.Name, logs.Subjects = Logs, []string{AllLogs}
	logs.MaxBytes, logs.MaxAge, logs.Compression = logsBytes, logsAge, jetstream.S2Compression
	logs.Duplicates, logs.AllowDirect = 2*time.Minute, true

	blobs := base
	blobs.Name, blobs.Subjects = Blobs, []string{"$O." + BlobsBucket + ".C.>", "$O." + BlobsBucket + ".M.>"}
	blobs.MaxBytes, blobs.MaxAge = BlobsBytes, BlobsAge // package content compresses
	blobs.Discard, blobs.AllowDirect, blobs.MaxMsgsPerSubject = jetstream.DiscardNew, true, 1
	return []jetstream.StreamConfig{queue, runs, logs, blobs}
}

// LaneConsumer is the durable consumer of a lane, by its name, with the filter that selects
// its jobs.
func LaneConsumer(lane, filter string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Name: lane, Durable: lane, FilterSubject: filter,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: AckWait, MaxDeliver: -1, MaxAckPending: -1,
		MaxWaiting: MaxWaiting, InactiveThreshold: laneIdle,
	}
}

// Advice returns how to make room in a full stream, besides raising its limit.
func Advice(stream string) string {
	switch stream {
	case Runs:
		return ", or have ended runs dropped sooner (serve --keep-runs)"
	case Jobs:
		return ", or start workers: it holds the jobs that wait for one"
	case Blobs:
		return fmt.Sprintf("; values in it are kept for %d days, and an orchestrator that serves removes the oldest ones earlier that no open run needs", int(BlobsAge.Hours()/24))
	}
	return ""
}

// Asset is a stream, that of a bucket too, with the subjects that it stores.
type Asset struct {
	Name     string
	Subjects []string
}

// All lists the streams, and then those of the buckets.
func All() (all []Asset) {
	for _, s := range Settings() {
		all = append(all, Asset{s.Name, s.Subjects})
	}
	for _, kind := range []string{"workers", "lanes", "leases", "locks", "stats", "cache", "sweep"} {
		all = append(all, Asset{"KV_" + Bucket(kind), []string{"$KV." + Bucket(kind) + ".>"}})
	}
	return all
}
