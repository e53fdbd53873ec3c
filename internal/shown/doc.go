// Package shown turns reports and events into what people are shown: no text in
// them commands a terminal or a CI system, and each name is one line.
package shown
