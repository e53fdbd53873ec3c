package cli

import (
	"context"
	"fmt"
)

// embed starts a server inside this process, and says so.
func (r *runner) embed(ctx context.Context) (*session, error) {
	why := "no NATS server is configured"
	if o := r.app.bind.origin["server"]; o != "" {
		why = "from " + o
	}
	st, err := r.store(ctx)
	if err != nil {
		return nil, err
	}
	r.progress.note("%s, %s (%s), in %s", embedded, count(r.options.slots(), "slot"), why, r.workspace)
	if st.temporary {
		r.progress.note("%s the store %s: this one keeps its data in a temporary one, %s, and leaves no history", holderText(r.storeDir), r.storeDir, st.dir)
	}
	h := hosting{as: roleRun, sync: r.options.syncAlways, token: newToken(), lost: r.stop}
	if r.options.listen != "" {
		if h.door, err = r.app.doorOf(storeOfSecrets(st, r.storeDir), r.options.listenOptions); err != nil {
			st.close()
			return nil, err
		}
	}
	s, err := r.app.embed(ctx, st, h, r.progress.logger())
	if err != nil || h.door == nil {
		return s, err
	}
	for _, text := range append(h.door.warnings(), h.door.instructions(ctx, r.app.workerProgram(), s.server.URL())...) {
		r.progress.note("%s", text)
	}
	return s, nil
}

// holderText names the holder of a store, beside which a run goes on.
func holderText(dir string) string {
	if h, ok := readHolder(dir); ok && h.Serves {
		return fmt.Sprintf("process %d serves runs (--detach hands it one), and holds", h.PID)
	}
	return "another run holds"
}

// beside connects to the process that serves the store of the run: its workers do
// the work.
func (r *runner) beside(ctx context.Context, served *servedError) (*session, error) {
	if r.options.listen != "" {
		return nil, usageError("--listen is for a server in this process, and %w", served)
	}
	h := served.holder
	if err := r.offersNothing(served.Error()); err != nil {
		return nil, err
	}
	r.progress.note("beside process %d, which serves %s%s", h.PID, served.dir, localText(r.options.local))
	c, err := r.app.enter(ctx, h, r.app.set.timeout)
	if err != nil {
		return nil, err
	}
	return &session{conn: c}, nil
}

// store is the one that the run's data is in: a temporary one beside another
// run, but that of the workspace for a run that is in it.
func (r *runner) store(ctx context.Context) (*store, error) {
	if r.spec != nil {
		return holdOrBorrow(ctx, r.storeDir)
	}
	return holdOwn(ctx, r.storeDir)
}
