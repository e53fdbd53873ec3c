// Package secrets finds the values of secrets, says which runs may have them, and
// seals them for the worker of an attempt.
//
// A Source is what a process was started with: variables of its environment, files,
// and a directory with a file for each secret. Files are read whenever a secret is
// asked for, so that a new value needs no restart. Rules narrow secrets to
// pipelines, modules and approved pipeline files. OfRun joins both for one run.
//
// A worker makes a Key for each delivery of a job, and its claim names the public
// half. Seal encrypts values to that half alone. No error contains a value.
package secrets
