package jetstream

// Bounds of the size of a chunk. A long one costs the server less, and is cut on fast
// links only: see flow.message. A reader on a slow link waits for one as long as it takes
// (call.go).
const (
	mostChunk  = 512 << 10
	leastChunk = 1 << 10
	// headRoom is what a message leaves of the server's max_payload, for headers.
	headRoom = 8 << 10
)

// chunkBytes is the size of one chunk: the bytes that the link carries in a short
// time, limited by the server's maximum.
func (c *Conn) chunkBytes() int {
	return int(min(int64(c.flow.message()), max(c.nc.MaxPayload()-headRoom, leastChunk)))
}
