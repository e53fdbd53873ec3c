package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// node is a NATS server of the phase.
type node struct {
	name    string
	dir     string
	bin     string
	client  string // address for clients
	cluster string // for other nodes
	monitor string
	routes  []string
	*process
}

// Programs under test have a separate login, which NATS sometimes refuses. chaos itself
// has another.
const (
	observer = "observer:sees-all"
	password = "lets-in"
)

const nodePatience = 30 * time.Second

// newNodes creates the configuration of one server, or of a cluster.
func newNodes(ctx context.Context, dir, bin string, count int) ([]*node, error) {
	nodes := make([]*node, count)
	var routes []string
	for i := range nodes {
		addrs, err := freeAddrs(ctx, 3)
		if err != nil {
			return nil, err
		}
		nodes[i] = &node{name: fmt.Sprintf("n%d", i+1), dir: dir, bin: bin, client: addrs[0], cluster: addrs[1], monitor: addrs[2]}
		routes = append(routes, "nats://"+addrs[1])
	}
	for _, n := range nodes {
		n.routes = routes
		if err := n.configure(login{password: password}); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

func (n *node) config() string { return filepath.Join(n.dir, n.name+".conf") }

// login is how NATS treats the programs under test.
type login struct {
	password string
	narrow   bool // with permissions that do not suffice
}

// configure writes the node's configuration; a running node reads it at a HUP.
func (n *node) configure(l login) error {
	return os.WriteFile(n.config(), []byte(n.text(l)), 0o600)
}

// text returns the node's configuration. The node does not advertise the other nodes to
// clients, because they would bypass their proxies.
func (n *node) text(l login) string {
	var b strings.Builder
	fmt.Fprintf(&b, "server_name: %s\nlisten: %q\nhttp: %q\n", n.name, n.client, n.monitor)
	fmt.Fprintf(&b, "jetstream {store_dir: %q, max_file_store: 40GB, max_memory_store: 1GB}\n", filepath.Join(n.dir, n.name))
	if len(n.routes) > 1 {
		fmt.Fprintf(&b, "cluster {name: chaos, listen: %q, no_advertise: true, routes: [%s]}\n", n.cluster, strings.Join(n.routes, ", "))
	}
	user, secret, _ := strings.Cut(observer, ":")
	permissions := ""
	if l.narrow {
		permissions = `, permissions: {publish: ["$JS.API.>", "_INBOX.>"], subscribe: ["_INBOX.>"]}`
	}
	fmt.Fprintf(&b, "authorization {users: [{user: %s, password: %q}, {user: program, password: %q%s}]}\n", user, secret, l.password, permissions)
	return b.String()
}

// up starts the node on its stored data.
func (n *node) up() error {
	p, err := launch(n.dir, n.name, os.Environ(), n.bin, "-c", n.config())
	if err != nil {
		return err
	}
	n.process = p
	return nil
}

// healthy reports whether the node's streams are current.
func (n *node) healthy(ctx context.Context) bool {
	_, ok := n.ask(ctx, "/healthz")
	return ok
}

func (n *node) ask(ctx context.Context, path string) ([]byte, bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.monitor+path, nil)
	if err != nil {
		return nil, false
	}
	r, err := http.DefaultClient.Do(q) //nolint:gosec // a server of ours
	if err != nil {
		return nil, false
	}
	defer func() { _ = r.Body.Close() }() // read
	text, err := io.ReadAll(r.Body)
	return text, err == nil && r.StatusCode == http.StatusOK
}

// awaitHealthy waits until all nodes are healthy.
func awaitHealthy(ctx context.Context, nodes []*node) error {
	for _, n := range nodes {
		if err := until(ctx, nodePatience, 50*time.Millisecond, "NATS node "+n.name+" is healthy", func() bool { return n.healthy(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// freeAddrs are addresses of the loopback on which no process listens.
func freeAddrs(ctx context.Context, n int) ([]string, error) {
	var addrs []string
	for range n {
		var config net.ListenConfig
		l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // after all are known: no two are the same
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}
