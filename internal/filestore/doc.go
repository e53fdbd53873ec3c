// Package filestore keeps the contents of files on this machine, by their
// SHA-256, within a bound. (Its full comment follows with its tests.)
package filestore
