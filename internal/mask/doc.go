// Package mask keeps the values of secrets out of texts.
//
// A Secret is what one attempt receives. A Masker knows every form of the secrets of
// an attempt: the values, their lines, and what common encodings make of them. A
// Stream masks a text that arrives in pieces, in one pass whatever the number of
// forms, and holds back only what may begin a secret.
//
// This helps against accidents: a module that wants to give a secret away encodes it
// in a form that is not known here.
package mask
