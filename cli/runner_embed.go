package cli

import (
	"context"
	"fmt"
	"net"
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
	token, tokenFile, err := r.listenToken(st)
	if err != nil {
		st.close()
		return nil, err
	}
	s, err := r.app.embed(ctx, st, hosting{listen: r.options.listen, token: token, as: runs, sync: r.options.syncAlways}, r.progress.logger())
	if err == nil && r.options.listen != "" {
		r.progress.note("workers join with: %s", joinCommand(s.server.URL(), r.options.listen, tokenFile))
	}
	return s, err
}

// holderText says who holds a store, beside which a run goes on.
func holderText(dir string) string {
	if h, ok := readHolder(dir); ok && h.Serves {
		return fmt.Sprintf("process %d serves runs (--detach hands it one), and holds", h.PID)
	}
	return "another run holds"
}

// beside connects to who serves the store that the run is in: its workers do
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
	c, err := r.app.enter(ctx, h.URL, h.Token, r.app.set.timeout)
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

// listenToken is what clients of the embedded server must know: on an
// address that was asked for, nothing as long as it is of this machine only.
func (r *runner) listenToken(st *store) (token, file string, err error) {
	if r.options.listen == "" {
		return newToken(), "", nil
	}
	open, err := checkListen(r.options.listen)
	if err != nil || !open {
		return "", "", err
	}
	return st.token()
}

// joinCommand is what starts a worker that joins.
func joinCommand(url, listen, tokenFile string) string {
	host, _, _ := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if _, port, err := net.SplitHostPort(trimScheme(url)); err == nil {
			url = "nats://" + net.JoinHostPort(hostName(), port)
		}
	}
	if tokenFile == "" {
		return "worker --server " + redact(url)
	}
	return fmt.Sprintf("worker --server %s --token-file %s (on another machine a copy of that file, or NATS_TOKEN)", redact(url), tokenFile)
}

func trimScheme(url string) string {
	if len(url) > len("nats://") && url[:len("nats://")] == "nats://" {
		return url[len("nats://"):]
	}
	return url
}
