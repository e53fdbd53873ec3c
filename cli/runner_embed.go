package cli

import (
	"context"
	"fmt"

	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/store"
)

// embed starts a server inside this process, and notes it.
func (r *runner) embed(ctx context.Context) (*access.Session, error) {
	why := "no NATS server is configured"
	if o := r.app.bind.Origin["server"]; o != "" {
		why = "from " + o
	}
	st, err := r.store(ctx)
	if err != nil {
		return nil, err
	}
	r.progress.Note("%s, %s (%s), in %s", settings.Embedded, phrase.Count(r.options.slots(), "slot"), why, r.workspace)
	if st.Temporary {
		r.progress.Note("%s the store %s: this one keeps its data in a temporary one, %s, and leaves no history", holderText(r.storeDir), r.storeDir, st.Path)
	}
	h := access.Hosting{As: access.RoleRun, Sync: r.options.syncAlways, Token: store.NewToken(), Lost: r.stop}
	if r.options.Listen != "" {
		if r.spec != nil {
			r.options.ListenOptions.Namespace = r.spec.Cache.Namespace
		}
		if h.Door, err = access.NewDoor(access.StoreOfSecrets(st, r.storeDir), r.options.ListenOptions, store.StateDir(r.app.env)); err != nil {
			st.Close()
			return nil, err
		}
	}
	s, err := r.app.sessions.Embed(ctx, st, h, r.progress.Logger())
	if err != nil || h.Door == nil {
		return s, err
	}
	for _, text := range append(h.Door.Warnings(), h.Door.Instructions(ctx, workerCommandLine(r.app), s.Server.URL())...) {
		r.progress.Note("%s", text)
	}
	return s, nil
}

// holderText names the holder of a store, beside which a run goes on.
func holderText(dir string) string {
	if h, ok := store.ReadHolder(dir); ok && h.Serves {
		return fmt.Sprintf("process %d serves runs (--detach hands it one), and holds", h.PID)
	}
	return "another run holds"
}

// joinServed connects to the process that serves the store of the run: its workers do
// the work.
func (r *runner) joinServed(ctx context.Context, served *store.ServedError) (*access.Session, error) {
	if r.options.Listen != "" {
		return nil, exit.Usagef("--listen is for a server in this process, and %w", served)
	}
	h := served.Holder
	if err := r.offersNothing(served.Error()); err != nil {
		return nil, err
	}
	r.progress.Note("beside process %d, which serves %s%s", h.PID, served.Dir, localText(r.options.local))
	c, err := r.app.sessions.Join(ctx, h, r.app.set.ConnectTimeout)
	if err != nil {
		return nil, err
	}
	return &access.Session{Conn: c}, nil
}

// store is the one that the run's data is in: a temporary one beside another
// run, but that of the workspace for a run that is in it.
func (r *runner) store(ctx context.Context) (*store.Dir, error) {
	if r.spec != nil {
		return store.HoldOrBorrow(ctx, r.storeDir)
	}
	return store.HoldExisting(ctx, r.storeDir)
}
