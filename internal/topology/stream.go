package topology

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/jobs"
)

// The streams.
const (
	JobsStream = "MP_JOBS"
	RunsStream = "MP_RUNS"
	LogsStream = "MP_LOGS"
)

// BlobsBucket is the object store of large values.
const BlobsBucket = "mp-blobs"

// Bucket is the name of the KV bucket of a kind.
func Bucket(kind string) string { return "mp-" + kind }

// AckWait is how long a delivered job may stay without an acknowledgement or a
// sign of progress.
const AckWait = 10 * time.Second

// LongestBody is the largest body that travels in its message, in bytes: no single
// message delays a heartbeat for long on a slow link.
const LongestBody = 128 << 10

// LongestMessage is LongestBody with headers.
const LongestMessage = LongestBody + 8<<10

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

// Streams returns the streams. A connection creates a missing one, and never
// changes an existing one.
func Streams() []jetstream.StreamConfig {
	base := jetstream.StreamConfig{
		Storage: jetstream.FileStorage, MaxConsumers: maxConsumers,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1,
	}
	queue := base
	queue.Name, queue.Subjects = JobsStream, []string{AllJobs}
	queue.Retention, queue.Discard, queue.MaxBytes = jetstream.WorkQueuePolicy, jetstream.DiscardNew, jobsBytes
	queue.Duplicates = 100 * time.Millisecond
	queue.RePublish = &jetstream.RePublish{Source: AllJobs, Destination: allBells, HeadersOnly: true}

	runs := base
	runs.Name, runs.Subjects, runs.AllowDirect = RunsStream, []string{allRecords}, true
	runs.Duplicates = 100 * time.Millisecond
	runs.Discard, runs.MaxBytes = jetstream.DiscardNew, RunsBytes

	logs := base
	logs.Name, logs.Subjects = LogsStream, []string{allLogs}
	logs.MaxBytes, logs.MaxAge, logs.Compression = logsBytes, logsAge, jetstream.S2Compression
	logs.Duplicates, logs.AllowDirect = 2*time.Minute, true

	blobs := base
	blobs.Name, blobs.Subjects = "OBJ_"+BlobsBucket, []string{"$O." + BlobsBucket + ".C.>", "$O." + BlobsBucket + ".M.>"}
	blobs.MaxBytes, blobs.MaxAge = BlobsBytes, BlobsAge // package content compresses
	blobs.Discard, blobs.AllowDirect, blobs.MaxMsgsPerSubject = jetstream.DiscardNew, true, 1
	return []jetstream.StreamConfig{queue, runs, logs, blobs}
}

// LaneConsumer is the durable consumer of a lane.
func LaneConsumer(lane jobs.Lane) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Name: string(lane), Durable: string(lane), FilterSubject: JobsOfLane(lane),
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: AckWait, MaxDeliver: -1, MaxAckPending: -1,
		MaxWaiting: MaxWaiting, InactiveThreshold: laneIdle,
	}
}

// Advice returns how to make room in a full stream, besides raising its limit.
func Advice(stream string) string {
	switch stream {
	case RunsStream:
		return ", or have ended runs dropped sooner (serve --keep-runs)"
	case JobsStream:
		return ", or start workers: it holds the jobs that wait for one"
	case "OBJ_" + BlobsBucket:
		return fmt.Sprintf("; values in it are kept for %d days, and an orchestrator that serves removes the oldest ones earlier that no open run needs", int(BlobsAge.Hours()/24))
	}
	return ""
}
