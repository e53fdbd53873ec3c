// Package secrets finds the values of secrets, says which runs may have them, and
// seals them for the worker of an attempt.
//
// A Source is what a process was started with: variables of its environment, files,
// and a directory with a file for each secret. Files are read whenever a secret is
// asked for, so that a new value needs no restart. Rules narrow secrets to
// pipelines, modules and approved pipeline files. OfRun joins both for one run.
//
// The claim of an attempt names a public key that is new for the delivery. Seal
// encrypts values for its owner alone. No error contains a value.
package secrets
