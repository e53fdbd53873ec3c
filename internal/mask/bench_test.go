package mask_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// BenchmarkStream compares masking to a plain copy of the same pieces.
func BenchmarkStream(b *testing.B) {
	var key strings.Builder
	key.WriteString("-----BEGIN PRIVATE KEY-----\n")
	for range 26 {
		line := make([]byte, 48)
		_, _ = rand.Read(line)
		key.WriteString(base64.StdEncoding.EncodeToString(line) + "\n")
	}
	var log bytes.Buffer
	for i := 0; log.Len() < 4<<20; i++ {
		fmt.Fprintf(&log, "2026-01-02T03:04:05Z INFO compiled internal/exec/process file_%d.go in %d ms, wrote /tmp/out/%x.o\n", i, i%97, i*7919)
	}
	const piece = 32 << 10
	pieces := func(b *testing.B, take func([]byte)) {
		b.SetBytes(int64(log.Len()))
		for b.Loop() {
			for rest := log.Bytes(); len(rest) > 0; rest = rest[min(piece, len(rest)):] {
				take(rest[:min(piece, len(rest))])
			}
		}
	}
	b.Run("copy", func(b *testing.B) {
		to := make([]byte, piece)
		pieces(b, func(p []byte) { copy(to, p) })
	})
	for name, values := range map[string][]string{
		"one-token": {"ghp_0123456789abcdefghijklmnopqrstuvwxyz"}, "private-key": {key.String()},
		"thirty-tokens": func() (all []string) {
			for range 30 {
				all = append(all, rand.Text())
			}
			return all
		}(),
	} {
		b.Run(name, func(b *testing.B) {
			s := masker(values...).Stream()
			to := make([]byte, 2*piece)
			pieces(b, func(p []byte) { copy(to, s.Next(p)) })
		})
	}
}

// BenchmarkNew measures the time and memory that the forms of the longest value take.
func BenchmarkNew(b *testing.B) {
	for _, size := range []int{40, 2 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			data := make([]byte, size)
			_, _ = rand.Read(data)
			value := base64.StdEncoding.EncodeToString(data)[:size]
			b.ReportAllocs()
			for b.Loop() {
				masker(value)
			}
		})
	}
}
