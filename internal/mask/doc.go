// Package mask keeps the values of secrets out of texts.
//
// A Secret is what one attempt receives. This helps against accidents only: a
// module that wants to give a secret away can.
package mask
