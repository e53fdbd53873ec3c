// Package flags has the groups of flags that several commands share: which flags a
// group has, what is wrong with their values, and what they mean for the packages
// below. A group keeps the values of one command line and knows no NATS.
//
// The faults of a group are sentences for the user. Each names its flag, and where
// the value came from unless that is the command line.
package flags
