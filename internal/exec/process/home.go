package process

import (
	"fmt"
	"os"
	"os/user"
	"strconv"

	"github.com/modpipe/modpipe/internal/workspace"
)

// home has the values of HOME and USER for commands, where the environment of this
// program lacks them.
type home struct {
	dir       string
	user      string
	temporary bool // newHome created dir
}

// newHome asks the system for the account of this program. When the account has no
// home directory it creates a temporary one, and returns a warning.
func newHome(environ []string) (h home, warning string) {
	account, err := user.Current()
	if err == nil {
		h.user, h.dir = account.Username, account.HomeDir
	}
	if h.user == "" {
		h.user = strconv.Itoa(os.Getuid())
	}
	if lookup(environ, "HOME") != "" || h.dir != "" && workspace.Check(h.dir) == nil {
		return h, ""
	}
	dir, err := os.MkdirTemp("", "modpipe-home-")
	if err != nil {
		h.dir = ""
		return h, fmt.Sprintf("user %s has no home directory and none can be created: %v; HOME of modules is a directory of the attempt", h.user, err)
	}
	h.dir, h.temporary = dir, true
	return h, fmt.Sprintf("user %s has no home directory: HOME of modules is %s, until this worker ends", h.user, dir)
}

// remove removes the directory that newHome created.
func (h home) remove() {
	if h.temporary {
		_ = workspace.Remove(h.dir) // it is in the temporary directory
	}
}

// variables lists HOME and USER where environ lacks them. own is a directory of the
// attempt, for a program without a home directory.
func (h home) variables(environ []string, own string) []string {
	var env []string
	if lookup(environ, "HOME") == "" {
		dir := h.dir
		if dir == "" {
			dir = own
		}
		env = append(env, "HOME="+dir)
	}
	if lookup(environ, "USER") == "" && h.user != "" {
		env = append(env, "USER="+h.user)
	}
	return env
}
