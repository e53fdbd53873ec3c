package wire

import "errors"

// Errors of reading a message, which package jobs and the transport share.
var (
	ErrNewer     = errors.New("the message is of a newer version of modpipe: update this program")
	ErrMalformed = errors.New("not a modpipe message")
	// ErrTooLarge reports a message or a value that exceeds a limit.
	ErrTooLarge = errors.New("too large")
)
