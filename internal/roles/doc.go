// Package roles says what each role may do on NATS: the subjects to which it may
// publish and subscribe. All of them follow from package topology. The package prints
// roles as configuration of a NATS server, as JSON and as a scoped signing key.
package roles
