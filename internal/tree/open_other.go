//go:build !unix && !windows

package tree

const readFlags = 0

func checkName(string) error { return nil }
