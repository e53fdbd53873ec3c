// Package protect keeps what this process knows from the commands that it runs as the
// same user: its memory, its environment and the files that it has inherited.
//
// The system does not keep those commands from each other's environment. A worker that
// must separate them is one worker for each level of trust.
package protect

// Process protects this process. The programs call it first, before they read a secret.
// What a system cannot protect, Missing tells.
func Process() {
	Memory()
	descriptors()
}
