//go:build !linux && !darwin

package doctor

// diskFree is not known here.
func diskFree(string) (free int64, known bool) { return 0, false }
