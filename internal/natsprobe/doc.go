// Package natsprobe examines a NATS server for `doctor`: what it offers, how its
// streams differ from the defaults, and which operations its permissions allow. It
// may change at any time.
//
// A Probe leaves nothing behind on the server. Its connection should be attached
// (jetstream.Attach), so that a missing stream stays missing. Each question ends
// with its answer or the caller's context, and fails on its own.
package natsprobe
