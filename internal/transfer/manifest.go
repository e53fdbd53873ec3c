package transfer

import (
	"encoding/json"
	"fmt"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/tree"
)

// manifestVersion is that of the format: of manifests, sections and packs.
const manifestVersion = 1

// mostManifest bounds a manifest, in bytes. One of 100,000 files has 30 KiB.
const mostManifest = 1 << 20

// manifest lists the sections of a tree, in the order of their paths.
type manifest struct {
	Version  int     `json:"version"`
	Sections []entry `json:"sections"`
}

// entry is a section in a manifest.
type entry struct {
	Namespace string         `json:"namespace"`
	Digest    content.Digest `json:"digest"`
	Files     int            `json:"files"`
	Bytes     int            `json:"bytes"` // of the list
}

// parseManifest reads a manifest, and believes nothing in it.
func parseManifest(data []byte) (*manifest, error) {
	m := new(manifest)
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	if m.Version != manifestVersion {
		return nil, fmt.Errorf("the manifest has version %d, and this program reads %d: use a newer modpipe", m.Version, manifestVersion)
	}
	for _, e := range m.Sections {
		if !content.ValidNamespace(e.Namespace) || !e.Digest.Valid() || e.Bytes < 0 || e.Bytes > mostList || e.Files < 0 {
			return nil, fmt.Errorf("the manifest names the section %.100q in %.100q", e.Digest, e.Namespace)
		}
	}
	return m, nil
}

// parseSection reads the list of a section.
func parseSection(list []byte, e entry) (*section, error) {
	if content.DigestOf(list) != e.Digest {
		return nil, fmt.Errorf("%w: the list does not have its digest", content.ErrDamaged)
	}
	files, err := tree.DecodeFiles(list)
	if err != nil {
		return nil, err
	}
	return &section{files: files, ref: content.Ref{Namespace: e.Namespace, Digest: e.Digest}, parts: partsOf(files)}, nil
}
