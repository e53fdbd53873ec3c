package function

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/internal/wire"
)

// mostSecrets bounds the message with all secrets of an attempt, in bytes.
const mostSecrets = 64 << 20

// sendSecrets writes the secrets of an attempt for the process that runs it: they
// enter no file.
func sendSecrets(to io.Writer, secrets []mask.Secret) error {
	data, err := wire.Encode(secrets)
	if err != nil {
		return err
	}
	_, err = to.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...))
	return err
}

// receiveSecrets reads what sendSecrets has written, and nothing after it.
func receiveSecrets(from io.Reader) (secrets []mask.Secret, err error) {
	var length uint32
	if err := binary.Read(from, binary.BigEndian, &length); err != nil {
		return nil, fmt.Errorf("receive secrets: %w", err)
	}
	if length > mostSecrets {
		return nil, errors.New("receive secrets: the message is too long")
	}
	data := make([]byte, length)
	if _, err := io.ReadFull(from, data); err != nil {
		return nil, fmt.Errorf("receive secrets: %w", err)
	}
	return secrets, wire.Decode(data, &secrets)
}

// without is a response without secrets: it is written to a file.
func without(secrets []mask.Secret, res call.Response) call.Response {
	m := mask.New(secrets)
	res.Error, res.Reason = m.Text(res.Error), m.Text(res.Reason)
	if name, found := m.Find(res.Result); found {
		return call.Response{Began: res.Began, Error: exec.ResultLeak(name), Permanent: true}
	}
	return res
}
