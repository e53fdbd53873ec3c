// Package puller keeps a worker's slots filled with jobs from the queue. It may
// change at any time.
//
// A Puller serves lanes. It requests jobs of a lane when the lane's bell
// (internal/bell) announces them, and scans all lanes each second, because a bell
// may be lost. Each job arrives as a Delivery, which the worker acknowledges when the
// outcome is stored. A Source, which broker implements, reads the bodies of jobs.
//
// One goroutine, Run, owns the puller's state. The puller never has more jobs out
// than slots, because a request reserves what it asks for. Between lanes the order
// is that of the ranks of the waiting jobs, and a job of several slots is not starved:
// slots are kept for it.
//
// A lane without permission or consumer rests, and the other lanes go on. After a
// reconnect all requests are repeated. A job that no worker can read leaves the
// queue, and a job of a newer version stays for newer workers.
package puller
