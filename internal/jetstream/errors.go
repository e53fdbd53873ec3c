package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/internal/wire"
)

// Errors that callers branch on.
var (
	ErrConflict    = errors.New("another writer was first") // a compare-and-set was refused: read the subject
	ErrNotFound    = errors.New("not found")
	ErrUnreachable = errors.New("NATS is unreachable")
	ErrDenied      = errors.New("permission denied by NATS")              // the text names the subject
	ErrRefused     = errors.New("NATS does not accept these credentials") // before the first connection
	ErrFull        = errors.New("there is no room for it")                // the stream is at its limit, or the account's storage is
	ErrTooLarge    = wire.ErrTooLarge
)

// Errors of one attempt, which retry repeats.
var (
	errLost      = errors.New("the connection was lost before the answer")
	ErrNoAnswer  = errors.New("no answer from NATS")
	ErrNotReady  = errors.New("no stream answers on the subject")
	ErrRacing    = errors.New("another write to the subject is in flight")
	ErrWithdrawn = errors.New("NATS denies a permission for now") // it is expected to return

	errNoRoom = errors.New("waiting for room")
)

// Error codes of the JetStream API that this package distinguishes.
const (
	codeNotFoundStream   jetstream.ErrorCode = 10059
	codeNameInUse        jetstream.ErrorCode = 10058
	codeNoMessage        jetstream.ErrorCode = 10037
	codeNoConsumer       jetstream.ErrorCode = 10014
	codeWrongSequence    jetstream.ErrorCode = 10071
	codeSequenceInFlight jetstream.ErrorCode = 10164
	codeNotEnabled       jetstream.ErrorCode = 10076
	codeNotEnabledHere   jetstream.ErrorCode = 10039
	codeAccountLimit     jetstream.ErrorCode = 10002
	codeNoResources      jetstream.ErrorCode = 10023
	codeNoMemory         jetstream.ErrorCode = 10028
	codeNoStorage        jetstream.ErrorCode = 10047
	codeStoreFailed      jetstream.ErrorCode = 10077
	codeNotCreated       jetstream.ErrorCode = 10049
	codeStreamOffline    jetstream.ErrorCode = 10118
)

// errorCode is the JetStream error code in err, or 0.
func errorCode(err error) jetstream.ErrorCode {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.ErrorCode
	}
	return 0
}

// answerError finds the error in a JetStream answer; nil when it has none.
func answerError(data []byte) error {
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return fmt.Errorf("read the answer of JetStream: %w", err)
	}
	if answer.Error == nil {
		return nil
	}
	return meaning(answer.Error)
}

// meaning wraps a JetStream error in the sentinel that callers test for.
func meaning(err *jetstream.APIError) error {
	switch err.ErrorCode {
	case codeWrongSequence:
		return fmt.Errorf("%w: %w", ErrConflict, err)
	case codeSequenceInFlight:
		return fmt.Errorf("%w: %w", ErrRacing, err)
	case codeNoMessage, codeNotFoundStream, codeNoConsumer:
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case codeStoreFailed, codeNoStorage, codeNoMemory, codeNoResources, codeAccountLimit:
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// Transient reports whether a retry may help.
func Transient(err error) bool {
	switch {
	case errors.Is(err, errNoRoom):
		return true
	case err == nil, errors.Is(err, ErrDenied), errors.Is(err, ErrRefused), errors.Is(err, ErrFull), errors.Is(err, ErrConflict),
		errors.Is(err, ErrNotFound), errors.Is(err, ErrReconnected):
		return false
	case errors.Is(err, nats.ErrConnectionClosed):
		return false
	case errors.Is(err, errLost), errors.Is(err, ErrNoAnswer), errors.Is(err, ErrNotReady), errors.Is(err, ErrRacing),
		errors.Is(err, ErrWithdrawn):
		return true
	case errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrDisconnected),
		errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrNoServers),
		errors.Is(err, nats.ErrStaleConnection), errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, context.DeadlineExceeded):
		return true
	}
	return transientCode(err)
}

func transientCode(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return false
	}
	switch api.ErrorCode {
	case codeNotEnabled, codeNotEnabledHere:
		return false
	case codeStreamOffline:
		return true
	}
	return api.Code == 503 || api.Code == 429 || api.Code == 408
}
