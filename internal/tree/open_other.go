//go:build !unix

package tree

const readFlags = 0
