package natstest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// Cluster is a cluster of NATS servers. The routes between them run through relays, so
// that a test can cut a node off like a network does: without a message. A server that
// stops notifies the others and hands its leaderships over.
//
// Elections take as long as in any NATS: less than a second after a start, and 4 to 9 s
// after a leader falls silent.
type Cluster struct {
	Nodes []*Server
	roads [][]*relay // roads[i][j] leads from node i to node j; nil from a node to itself
}

// StartCluster gives the test a cluster of n servers on loopback. change, when
// not nil, alters the options of each.
func StartCluster(t testing.TB, n int, change func(*server.Options)) *Cluster {
	t.Helper()
	c := &Cluster{roads: make([][]*relay, n)}
	for i := range n {
		c.roads[i] = make([]*relay, n)
		for j := range n {
			if i != j {
				c.roads[i][j] = newRelay(t)
			}
		}
	}
	for i := range n {
		s := StartServer(t, func(o *server.Options) {
			c.configure(i, o)
			if change != nil {
				change(o)
			}
		})
		c.Nodes = append(c.Nodes, s)
		c.found(i)
	}
	return c
}

// configure returns the options of a node. The address that it advertises to other nodes
// is unreachable, so that all routes use the relays.
func (c *Cluster) configure(i int, o *server.Options) {
	o.ServerName = fmt.Sprint("n", i)
	o.Cluster = server.ClusterOpts{
		Name: "natstest", Host: "127.0.0.1", Port: server.RANDOM_PORT, Advertise: "127.0.0.1:1", NoAdvertise: true, PoolSize: -1,
	}
	for _, road := range c.roads[i] {
		if road != nil {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: road.listener.Addr().String()})
		}
	}
}

// found points all relays of a node to the address on which it listens.
func (c *Cluster) found(i int) {
	s := c.Nodes[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, from := range c.roads {
		if from[i] != nil {
			from[i].lead(s.srv.ClusterAddr().String())
		}
	}
}

// URL returns the addresses of the nodes, separated by commas.
func (c *Cluster) URL() string {
	var urls []string
	for _, s := range c.Nodes {
		urls = append(urls, s.URL())
	}
	return strings.Join(urls, ",")
}

// Kill ends a node as a crash does. The other nodes receive no message about it.
func (c *Cluster) Kill(node int) {
	for other := range c.roads {
		if other != node {
			c.roads[node][other].close()
			c.roads[other][node].close()
		}
	}
	c.Nodes[node].Stop()
}

// Named returns the node of a name. NATS reports leaders by name.
func (c *Cluster) Named(t testing.TB, name string) int {
	t.Helper()
	for i, s := range c.Nodes {
		if s.opts.ServerName == name {
			return i
		}
	}
	t.Fatalf("no node is named %q", name)
	return 0
}

// relay forwards bytes unless it is closed.
type relay struct {
	listener net.Listener
	all      sync.WaitGroup

	mu     sync.Mutex
	target string // "" = no server is there yet
	closed bool
	conns  map[net.Conn]bool
}

func newRelay(t testing.TB) *relay {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, conns: map[net.Conn]bool{}}
	r.all.Go(r.accept)
	t.Cleanup(func() {
		l.Close() //nolint:errcheck // it is over
		r.close()
		r.all.Wait()
	})
	return r
}

func (r *relay) accept() {
	for {
		from, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.all.Go(func() { r.serve(from) })
	}
}

func (r *relay) lead(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
}

func (r *relay) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for c := range r.conns {
		c.Close() //nolint:errcheck // to end it is the purpose
	}
}

func (r *relay) serve(from net.Conn) {
	defer from.Close() //nolint:errcheck // it has ended
	r.mu.Lock()
	target := r.target
	r.mu.Unlock()
	to, err := new(net.Dialer).DialContext(context.Background(), "tcp", target)
	if err != nil {
		return
	}
	defer to.Close() //nolint:errcheck // the same
	if !r.enter(from, to) {
		return
	}
	defer r.leave(from, to)
	var back sync.WaitGroup
	back.Go(func() { hand(from, to) })
	hand(to, from)
	back.Wait()
}

func (r *relay) enter(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		r.conns[c] = true
	}
	return !r.closed
}

func (r *relay) leave(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		delete(r.conns, c)
	}
}

// hand copies until either side ends, and ends both.
func hand(to, from net.Conn) {
	io.Copy(to, from) //nolint:errcheck // a road that breaks
	to.Close()        //nolint:errcheck // the same
	from.Close()      //nolint:errcheck // the same
}
