//go:build !unix

package signing

import "io/fs"

// private reports true: the permissions of this system are not in the mode of a file.
func private(fs.FileInfo) bool { return true }
