//go:build !linux

package machine

// CheckProcesses returns nil here: no limit is read on this system.
func CheckProcesses() error { return nil }

// ReserveThreads does nothing here.
func ReserveThreads() {}
