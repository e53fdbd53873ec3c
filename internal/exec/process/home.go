package process

import (
	"fmt"
	"os"
	"os/user"
	"strconv"

	"github.com/modpipe/modpipe/internal/workspace"
)

// home is what HOME and USER are for commands where the worker's own
// environment does not say it.
type home struct {
	dir  string
	user string
	made bool // the worker made dir, and removes it at its end
}

// newHome asks the system for the account that the worker runs as. Without a
// home directory there it makes one, which lasts as long as the worker; warning
// says so.
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
		return h, fmt.Sprintf("user %s has no home directory and none can be made: %v; HOME of modules is a directory of the attempt", h.user, err)
	}
	h.dir, h.made = dir, true
	return h, fmt.Sprintf("user %s has no home directory: HOME of modules is %s, until this worker ends", h.user, dir)
}

// remove removes the directory that newHome made.
func (h home) remove() {
	if h.made {
		_ = workspace.Remove(h.dir) // it is in a directory for such things
	}
}

// variables are HOME and USER where environ lacks them. own is a directory of
// the attempt, for a worker that has none.
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
