package function

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/modpipe/modpipe/internal/wire"
)

// mostSecrets bounds the message with all secrets of an attempt, in bytes.
const mostSecrets = 64 << 20

// sendSecrets writes the secrets of an attempt for the process that runs it: they
// enter no file.
func sendSecrets(to io.Writer, secrets map[string]string) error {
	data, err := wire.Encode(secrets)
	if err != nil {
		return err
	}
	_, err = to.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...))
	return err
}

// receiveSecrets reads what sendSecrets has written, and nothing after it.
func receiveSecrets(from io.Reader) (secrets map[string]string, err error) {
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
