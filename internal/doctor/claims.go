package doctor

import (
	"context"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
)

// openClaim is an attempt that a worker has claimed and that has no outcome.
type openClaim struct {
	Run    jobs.RunID
	Module jobs.ModuleID
	Claim  jobs.Claim
	Since  time.Time // by the server's clock
}

// openClaims reads the open claims of a run from its log. It returns broker.ErrNotFound
// when the run does not exist.
func openClaims(ctx context.Context, c *broker.Conn, run jobs.RunID) ([]openClaim, error) {
	log, err := c.Runs.Read(ctx, run)
	if err != nil {
		return nil, err
	}
	open := map[jobs.ModuleID]openClaim{}
	for _, e := range log {
		switch rec := e.Record; {
		case rec.End != nil:
			return nil, nil
		case rec.Claim != nil:
			open[e.Cell] = openClaim{Run: run, Module: e.Cell, Claim: *rec.Claim, Since: e.Time}
		case rec.Outcome != nil && open[e.Cell].Claim.Attempt == rec.Outcome.Attempt:
			delete(open, e.Cell)
		}
	}
	claims := make([]openClaim, 0, len(open))
	for _, claim := range open {
		claims = append(claims, claim)
	}
	return claims, nil
}
