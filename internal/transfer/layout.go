package transfer

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/fnv"
	"math"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/tree"
)

// The sizes are part of the format: the reader of a section computes its packs.
const (
	leastPack  = 128 << 10 // bytes of the files of a pack, except the last one of a section
	usualPack  = 256 << 10 // more, on average
	mostPack   = 768 << 10 // a longer file is a pack of its own
	mostPacked = 4 << 20   // a longer file is no pack

	leastFiles   = 256 // of a section, except the last one
	usualFiles   = 512 // more, on average
	mostFiles    = 4096
	mostSections = 256 // about: larger trees have larger sections
	mostParts    = content.MostRefs
)

// section is a contiguous range of the files of a tree.
type section struct {
	files []tree.File
	list  []byte // encoded
	ref   content.Ref
	parts []part
}

// part is a value that holds contents of a section.
type part struct {
	files []tree.File // in their order; one, when it is not packed
	bytes int64
	ref   content.Ref
	large bool // not packed
}

// cut divides a tree into sections, whose namespaces are not known yet.
func cut(files []tree.File) (sections []section) {
	usual := uint64(usualFiles)
	for uint64(len(files))/usual > mostSections {
		usual *= 2
	}
	for len(files) > 0 {
		n := sectionLength(files, usual)
		s := section{files: files[:n], list: tree.AppendFiles(nil, files[:n])}
		s.ref.Digest = content.DigestOf(s.list)
		sections = append(sections, s)
		files = files[n:]
	}
	return sections
}

// sectionLength is the number of files in the first section of some files.
func sectionLength(files []tree.File, usual uint64) int {
	parts := 0
	for i, f := range files {
		if f.Size > mostPack { // others share their packs
			parts++
		}
		switch {
		case i+1 >= leastFiles && pathHash(f.Path) < math.MaxUint64/usual, i+1 >= mostFiles*int(usual/usualFiles), parts >= mostParts/2:
			return i + 1
		}
	}
	return len(files)
}

// partsOf divides the contents of a section into parts. Of equal contents only the
// first is in a part.
func partsOf(files []tree.File) (parts []part) {
	seen := make(map[tree.Digest]bool, len(files))
	var open part
	end := func() {
		if len(open.files) > 0 {
			open.ref.Digest = packDigest(open.files)
			parts = append(parts, open)
		}
		open = part{}
	}
	for _, f := range files {
		if !f.HasContent() || f.Size == 0 || seen[f.Digest] {
			continue
		}
		seen[f.Digest] = true
		if f.Size > mostPacked {
			parts = append(parts, part{files: []tree.File{f}, bytes: f.Size, large: true, ref: content.Ref{Digest: content.Digest(f.Digest.String())}})
			continue
		}
		if open.bytes+f.Size > mostPack {
			end()
		}
		open.files = append(open.files, f)
		open.bytes += f.Size
		if open.bytes >= leastPack && ends(f) {
			end()
		}
	}
	end()
	return parts
}

// ends reports whether a pack that is long enough ends after a file. The longer the
// file, the more likely it is, so that packs have a usual length.
func ends(f tree.File) bool {
	share := float64(f.Size) / usualPack
	return share >= 1 || float64(pathHash(f.Path)) < share*math.MaxUint64
}

// pathHash spreads paths evenly.
func pathHash(path string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(path))
	n := h.Sum64()
	n ^= n >> 33
	n *= 0xff51afd7ed558ccd
	n ^= n >> 33
	n *= 0xc4ceb9fe1a85ec53
	return n ^ n>>33
}

// packDigest names a pack by what it holds.
func packDigest(files []tree.File) content.Digest {
	b := append(make([]byte, 0, 16+len(files)*40), "modpipe pack 1\n"...)
	for i := range files {
		b = append(b, files[i].Digest[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(files[i].Size)) //nolint:gosec // not negative
	}
	return content.Digest(tree.Digest(sha256.Sum256(b)).String())
}
