package jobs

import (
	"encoding/binary"
	"fmt"
)

// maxDepth is how deep arrays and maps may nest: a pipeline with its modules'
// parameters needs about ten.
const maxDepth = 32

// check walks one msgpack value without allocating: every length fits what is
// there, nothing nests deeper than maxDepth, nothing follows. A decoder can
// then trust the lengths that it reads.
func check(data []byte) error {
	var left [maxDepth]int // values still missing at each depth
	depth, pos := 0, 0
	left[0] = 1
	for {
		for left[depth] == 0 {
			if depth == 0 {
				if pos != len(data) {
					return fmt.Errorf("%w: %d bytes follow it", ErrMalformed, len(data)-pos)
				}
				return nil
			}
			depth--
		}
		left[depth]--
		size, values, ok := head(data[pos:])
		if !ok || size > len(data)-pos || values > len(data)-pos-size {
			return fmt.Errorf("%w: it is cut short at byte %d", ErrMalformed, pos)
		}
		pos += size
		if values > 0 {
			if depth++; depth == maxDepth {
				return fmt.Errorf("%w: it nests deeper than %d", ErrMalformed, maxDepth)
			}
			left[depth] = values
		}
	}
}

// head reads the beginning of a value: how many bytes it takes without the
// values in it, and how many those are.
func head(b []byte) (size, values int, ok bool) {
	if len(b) == 0 {
		return 0, 0, false
	}
	c := b[0]
	switch {
	case c <= 0x7f, c >= 0xe0: // small integers
		return 1, 0, true
	case c <= 0x8f:
		return 1, 2 * int(c&0x0f), true
	case c <= 0x9f:
		return 1, int(c & 0x0f), true
	case c <= 0xbf:
		return 1 + int(c&0x1f), 0, true
	}
	switch c {
	case 0xc0, 0xc2, 0xc3: // nil, false, true
		return 1, 0, true
	case 0xc4, 0xd9: // bytes and strings
		return sized(b, 1, 0)
	case 0xc5, 0xda:
		return sized(b, 2, 0)
	case 0xc6, 0xdb:
		return sized(b, 4, 0)
	case 0xc7, 0xc8, 0xc9: // extensions
		return sized(b, 1<<(c-0xc7), 1)
	case 0xca, 0xce, 0xd2: // numbers
		return 5, 0, true
	case 0xcb, 0xcf, 0xd3:
		return 9, 0, true
	case 0xcc, 0xd0:
		return 2, 0, true
	case 0xcd, 0xd1:
		return 3, 0, true
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8: // extensions of fixed size
		return 2 + 1<<(c-0xd4), 0, true
	case 0xdc: // arrays and maps
		return counted(b, 2, 1)
	case 0xdd:
		return counted(b, 4, 1)
	case 0xde:
		return counted(b, 2, 2)
	case 0xdf:
		return counted(b, 4, 2)
	}
	return 0, 0, false // 0xc1 is never used
}

func sized(b []byte, width, extra int) (size, values int, ok bool) {
	n, ok := length(b, width)
	return 1 + width + extra + n, 0, ok
}

func counted(b []byte, width, each int) (size, values int, ok bool) {
	n, ok := length(b, width)
	return 1 + width, each * n, ok
}

func length(b []byte, width int) (int, bool) {
	if len(b) < 1+width {
		return 0, false
	}
	switch width {
	case 1:
		return int(b[1]), true
	case 2:
		return int(binary.BigEndian.Uint16(b[1:])), true
	default:
		return int(binary.BigEndian.Uint32(b[1:])), true
	}
}
