package worker_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/modpipe/modpipe/internal/secrets"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
	"github.com/modpipe/modpipe/worker"
)

func (b *bench) secretJob(script string, of ...pipeline.Secret) *jobs.Job {
	j := b.job(script)
	j.Secrets, j.ClaimFirst = of, true
	return j
}

// A module with a key that waits for its secrets holds the key no longer than one that
// runs.
func TestLapsedLeaseEndsAWaitForSecrets(t *testing.T) {
	log := natstest.NewLog()
	b := newBenchTTL(t, natstest.StartServer(t, nil), time.Second, func(c *worker.Config) { c.Logger = log.Logger() })
	j := b.secretJob("touch ran", pipeline.Secret{Env: "TOKEN", Name: "token"})
	j.Keyed = true
	b.publish(j)
	b.claimed(j)
	last, err := b.conn.Runs.Last(t.Context(), run, j.Module)
	natstest.Check(t, err)
	if last.Record.Claim == nil || last.Record.Claim.XKey == "" {
		t.Errorf("the claim %+v names no key", last.Record.Claim)
	}
	b.server.Stop()
	log.Await(t, "the lease has lapsed")
	b.server.Start(t)
	if o := b.outcome(j); o.Status != report.AttemptLost || b.exists("ran") {
		t.Errorf("outcome %+v", o)
	}
}

// A worker that has to go hands back what waits for its secrets.
func TestADrainedWorkerHandsAWaitForSecretsBack(t *testing.T) {
	b := newBench(t, natstest.InProcess(t), func(c *worker.Config) { c.DrainTimeout = time.Millisecond })
	j := b.secretJob("touch ran", pipeline.Secret{Env: "TOKEN", Name: "token"})
	b.publish(j)
	b.claimed(j)
	b.worker.Drain()
	if o := b.outcome(j); o.Status != report.AttemptHandedBack || b.exists("ran") {
		t.Errorf("outcome %+v", o)
	}
}

// Secrets of the worker need no orchestrator, and are read when the module starts.
func TestSecretsOfTheWorkerAreReadWhenAModuleStarts(t *testing.T) {
	dir := t.TempDir()
	put := func(value string) {
		t.Helper()
		natstest.Check(t, os.WriteFile(filepath.Join(dir, "db"), []byte(value), 0o600))
	}
	put("first value")
	source, err := secrets.New(secrets.Config{Dir: dir})
	natstest.Check(t, err)
	b := newBench(t, natstest.InProcess(t), func(c *worker.Config) { c.Secrets = source })
	of := pipeline.Secret{Env: "DB", Name: "db", FromWorker: true}
	for _, value := range []string{"first value", "second value"} {
		put(value)
		j := b.secretJob(`test "$DB" = "`+value+`"`, of)
		b.publish(j)
		if o := b.outcome(j); o.Status != report.AttemptSucceeded {
			t.Errorf("%s: %+v", value, o)
		}
	}
	natstest.Check(t, os.Remove(filepath.Join(dir, "db")))
	j := b.secretJob("touch ran", of)
	b.publish(j)
	if o := b.outcome(j); o.Status != report.AttemptFailed || b.exists("ran") {
		t.Errorf("without its secret: %+v", o)
	}
}
