// Package broker speaks JetStream. STUB: signatures that others compile against.
package broker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/jobs"
)

// Errors that callers branch on.
var (
	ErrConflict    = errors.New("someone else has written first") // a compare-and-set was refused: read the cell
	ErrNotFound    = errors.New("not found")
	ErrUnreachable = errors.New("NATS is unreachable")
	ErrDenied      = errors.New("permission denied by NATS") // the text names the subject
)

// Config says how to connect.
type Config struct {
	URL            string        // as nats.Connect takes it, several separated by commas
	Name           string        // of the client, in the server's monitoring
	Options        []nats.Option // credentials, TLS, in-process server
	ConnectTimeout time.Duration // 0 = go on trying until ctx ends
	Prefix         string        // "mp"
	Logger         *slog.Logger
}

// Conn is a connection with modpipe's streams on it. Safe for concurrent use.
type Conn struct{}

// Connect connects and makes whatever of the topology is missing.
func Connect(ctx context.Context, cfg Config) (*Conn, error) { panic("stub") }

// NATS is the connection itself, for package kv.
func (c *Conn) NATS() *nats.Conn { panic("stub") }

// Close closes the connection after what was published has been sent.
func (c *Conn) Close() { panic("stub") }

// URL of the server it is connected to now.
func (c *Conn) URL() string { panic("stub") }

// Reconnected returns a channel on which a value arrives after every reconnect (at least one for any number), until ctx ends.
func (c *Conn) Reconnected(ctx context.Context) <-chan struct{} { panic("stub") }

// Ensure makes what is missing of the streams again (a memory stream is gone after a restart of the server).
func (c *Conn) Ensure(ctx context.Context) error { panic("stub") }

// ---- the log of a run

// Append writes a record to a subject of the run, expecting expect to be that subject's last sequence.
// The subject follows from the record: Spec → .spec, Claim/Outcome → the cell, Takeover/Grant/Expansion/Nobody → .ctl, Cancel → .cancel, End → .end.
// An unanswered write is repeated (same expectation) while ctx lasts; a refusal is ErrConflict, also when it is our own first copy that stands there: the caller reads.
func (c *Conn) Append(ctx context.Context, run jobs.RunID, cell jobs.Token, expect uint64, rec jobs.Record) (uint64, error) {
	panic("stub")
}

// AppendAsync sends at once, in the order of the calls, and calls done (from another goroutine) when it is answered or given up. Not repeated.
func (c *Conn) AppendAsync(ctx context.Context, run jobs.RunID, cell jobs.Token, expect uint64, rec jobs.Record, done func(uint64, error)) {
	panic("stub")
}

// Last reads the newest record of a module's cell (ErrNotFound when there is none); LastEnd, LastCancel likewise via cell="" and kind.
func (c *Conn) Last(ctx context.Context, run jobs.RunID, cell jobs.Token) (jobs.Entry, error) {
	panic("stub")
}

// Ended reports whether the run has an end record.
func (c *Conn) Ended(ctx context.Context, run jobs.RunID) (bool, error) { panic("stub") }

// LastCancel is the run's newest cancellation (ErrNotFound).
func (c *Conn) LastCancel(ctx context.Context, run jobs.RunID) (jobs.Entry, error) { panic("stub") }

// ReadLog reads the whole log of a run as it is now, in order (ErrNotFound when there is no such run).
func (c *Conn) ReadLog(ctx context.Context, run jobs.RunID) ([]jobs.Entry, error) { panic("stub") }

// Follow sends every record of the run after the given sequence to out, in order, without gaps or repeats, over reconnects and restarts of the server, until ctx ends.
func (c *Conn) Follow(ctx context.Context, run jobs.RunID, after uint64, out chan<- jobs.Entry) error {
	panic("stub")
}

// RunSummary is a run as a list shows it.
type RunSummary struct {
	Spec    jobs.Spec // Pipeline may be nil in it but for name? (decide: keep light)
	Started time.Time
	End     *jobs.End
	Ended   time.Time
}

// Runs lists the runs on this NATS, newest first, at most limit (0 = all).
func (c *Conn) Runs(ctx context.Context, limit int) ([]RunSummary, error) { panic("stub") }

// ---- jobs

// EnsureLane makes the lane's durable consumer.
func (c *Conn) EnsureLane(ctx context.Context, lane jobs.Lane) error { panic("stub") }

// PublishJob puts a job on its lane with expectation 0 on its subject; sends at once, in the order of the calls; done is called from another goroutine.
// ErrConflict: it is there already.
func (c *Conn) PublishJob(ctx context.Context, job *jobs.Job, done func(error)) { panic("stub") }

// PurgeJob removes one job by its exact subject, PurgeRun all of a run.
func (c *Conn) PurgeJob(ctx context.Context, lane jobs.Lane, run jobs.RunID, key jobs.Key) error {
	panic("stub")
}

// PurgeRun removes all jobs of a run.
func (c *Conn) PurgeRun(ctx context.Context, run jobs.RunID) error { panic("stub") }

// Queued reports whether the job is in the queue, waiting or delivered and not acknowledged.
func (c *Conn) Queued(ctx context.Context, lane jobs.Lane, run jobs.RunID, key jobs.Key) (bool, error) {
	panic("stub")
}

// Delivery is a job that was pulled.
type Delivery struct {
	Job      jobs.Job
	Lane     jobs.Lane
	Slots    int  // how many of the puller's slots it holds: give them back with Puller.Release
	Doubtful bool // redelivered, marked again, stored after its store-by time or before this connection was made
}

// Ack removes the job from the queue; call it after the outcome is stored.
func (d *Delivery) Ack() error { panic("stub") }

// InProgress holds off the redelivery for another AckWait (10 s); send it every AckWait/3.
func (d *Delivery) InProgress() error { panic("stub") }

// AckWait is how long a delivered job may stay without a sign of life.
const AckWait = 10 * time.Second

// Puller keeps a worker's slots filled from the lanes that it serves.
type Puller struct{}

// NewPuller makes a puller of this many slots. handle is called on the puller's goroutine with every delivery and must not block.
func NewPuller(c *Conn, slots int, handle func(*Delivery)) *Puller { panic("stub") }

// Run pulls until ctx ends.
func (p *Puller) Run(ctx context.Context) error { panic("stub") }

// Serve adds a lane (idempotent), whose jobs take this many slots each.
func (p *Puller) Serve(lane jobs.Lane, slots int) { panic("stub") }

// Unserve drops a lane.
func (p *Puller) Unserve(lane jobs.Lane) { panic("stub") }

// Release gives slots back.
func (p *Puller) Release(slots int) { panic("stub") }

// Pause stops pulling for good (drain); what was delivered is still handled. Blocks until no delivery can come any more or ctx ends.
func (p *Puller) Pause(ctx context.Context) error { panic("stub") }

// ---- logs

// AppendLog stores a chunk, repeating until it is stored or ctx ends; a repeated chunk is stored once.
func (c *Conn) AppendLog(ctx context.Context, run jobs.RunID, key jobs.Key, chunk jobs.LogChunk) error {
	panic("stub")
}

// LogEntry is a chunk with its place.
type LogEntry struct {
	Key   jobs.Key
	Chunk jobs.LogChunk
}

// FollowLogs sends the chunks of all attempts of a run, from the first, live, until ctx ends. Over reconnects, no gaps, no repeats.
func (c *Conn) FollowLogs(ctx context.Context, run jobs.RunID, out chan<- LogEntry) error {
	panic("stub")
}

// ReadLogs calls f with the stored chunks of a run (token "" = all modules, attempt 0 = all attempts) as they are now, in order.
func (c *Conn) ReadLogs(ctx context.Context, run jobs.RunID, token jobs.Token, attempt jobs.Attempt, f func(LogEntry) error) error {
	panic("stub")
}

// ---- blobs

// InlineLimit is how many bytes of encoded outputs travel inside a record.
const InlineLimit = 64 << 10

// PutOutputs stores outputs: inline, or by digest above InlineLimit. Retries while ctx lasts.
func (c *Conn) PutOutputs(ctx context.Context, values map[string]string) (jobs.Outputs, error) {
	panic("stub")
}

// Outputs resolves them.
func (c *Conn) Outputs(ctx context.Context, o jobs.Outputs) (map[string]string, error) { panic("stub") }

// ---- control (core NATS)

// SendRunControl sends to whoever runs something of the run; SendWorkerControl to a worker.
func (c *Conn) SendRunControl(run jobs.RunID, m jobs.Control) error { panic("stub") }

// SendWorkerControl sends to a worker.
func (c *Conn) SendWorkerControl(worker string, m jobs.Control) error { panic("stub") }

// Controls calls f with every control message for any run and for this worker until ctx ends.
func (c *Conn) Controls(ctx context.Context, worker string, f func(run jobs.RunID, m jobs.Control)) error {
	panic("stub")
}

// ---- embedded server

// EmbedConfig configures a server inside this process.
type EmbedConfig struct {
	Store  string // directory
	Listen string // "host:port"; empty = 127.0.0.1 and a free port
	Token  string // required from TCP clients when set
	Memory bool
	Logger *slog.Logger
}

// Server is an embedded server.
type Server struct{}

// Embed starts a server.
func Embed(cfg EmbedConfig) (*Server, error) { panic("stub") }

// Options connect in process.
func (s *Server) Options() []nats.Option { panic("stub") }

// URL for other processes.
func (s *Server) URL() string { panic("stub") }

// Close stops it and waits.
func (s *Server) Close() { panic("stub") }
