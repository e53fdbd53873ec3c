package flags

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/modpipe/modpipe/internal/roles"
	"github.com/modpipe/modpipe/internal/settings"
)

// Printing are the flags of the command that prints roles.
type Printing struct {
	All       bool
	Role      string
	Group     string
	Lanes     []string
	Namespace string
	From      []string
	Format    string
}

// Define defines the flags.
func (p *Printing) Define(fs *pflag.FlagSet) {
	settings.SwitchFlag(fs, &p.All, "all", "", "print the configuration of a whole server, with an account that has a user for each role")
	p.DefineRole(fs, "role", "orchestrator, worker or submitter")
	settings.TextFlag(fs, &p.Format, "format", "", "FORMAT", "conf", "conf: of a user in the file of a server; jwt: a new scoped signing key of an account; json: the permissions")
}

// DefineRole defines the flags that name a role, the first with a name and a usage of
// its own.
func (p *Printing) DefineRole(fs *pflag.FlagSet, name, usage string) {
	settings.TextFlag(fs, &p.Role, name, "", "ROLE", "", usage)
	settings.TextFlag(fs, &p.Group, "group", "", "GROUP", "", "the group of a worker (default: that of workers without --group)")
	settings.ListFlag(fs, &p.Lanes, "lanes", "A,B", true, "the lanes of a worker; it reads no job of another one (default: all)")
	settings.TextFlag(fs, &p.Namespace, "cache-namespace", "", "NAME", "", "the namespace to which a worker or submitter writes files (default: main)")
	settings.ListFlag(fs, &p.From, "cache-from", "NAMES", true, "other namespaces whose files it reads")
}

// Options are those of the role that the flags name.
func (p *Printing) Options() roles.Options {
	return roles.Options{Group: p.Group, Lanes: p.Lanes, Namespace: p.Namespace, From: p.From}
}

// Faults returns the faults of the flags' values.
func (p *Printing) Faults() (faults []string) {
	switch {
	case p.All && p.Role != "":
		faults = append(faults, "--all prints every role: leave out --role")
	case !p.All && p.Role == "":
		faults = append(faults, "--role: orchestrator, worker or submitter; --all prints them all")
	}
	if !slices.Contains([]string{"conf", "jwt", "json"}, p.Format) || p.All && p.Format != "conf" {
		faults = append(faults, fmt.Sprintf("--format: %q is not conf, jwt or json (with --all: conf)", p.Format))
	}
	return append(faults, p.RoleFaults()...)
}

// RoleFaults returns the faults of the flags that name a role.
func (p *Printing) RoleFaults() (faults []string) {
	role := roles.Role(p.Role)
	if role != "" && !slices.Contains(roles.All(), role) {
		faults = append(faults, fmt.Sprintf("there is no role %q: orchestrator, worker or submitter", p.Role))
	}
	if role != roles.Worker && !p.All && (p.Group != "" || len(p.Lanes) > 0) {
		faults = append(faults, "--group and --lanes are for --role worker")
	}
	if p.Group == roles.AnyGroup {
		faults = append(faults, "--group: * is no group")
	}
	if err := p.Options().Validate(); err != nil {
		faults = append(faults, "--"+strings.ReplaceAll(err.Error(), "\n", " "))
	}
	return faults
}

// Print prints what the flags ask for; they have no faults.
func (p *Printing) Print(w io.Writer) error {
	if p.All {
		var users []roles.User
		for _, r := range roles.All() {
			users = append(users, roles.NewUser(r, p.Options()))
		}
		return roles.WriteServer(w, users)
	}
	role := roles.Role(p.Role)
	switch p.Format {
	case "jwt":
		return roles.WriteSigningKey(w, role, p.Options())
	case "json":
		return roles.WriteJSON(w, roles.NewUser(role, p.Options()))
	}
	return roles.WriteConf(w, roles.NewUser(role, p.Options()))
}
