// Package atomicfile replaces a file completely or not at all.
//
// The new content is written to a temporary file in the same directory, synced
// and renamed, on Windows too. A pipe or a device is written to directly.
package atomicfile
