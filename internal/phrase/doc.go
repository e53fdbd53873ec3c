// Package phrase words numbers, durations and lists for messages and tables.
//
// It formats only: it neither writes nor reads anything.
package phrase
