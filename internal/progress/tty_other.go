//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package progress

import "os"

func inForeground(*os.File) bool { return true }

func muteEcho(*os.File) (undo func()) { return func() {} }

func watchResumed(done <-chan struct{}, _ func()) { <-done }
