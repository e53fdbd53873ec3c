package doctor

import (
	"context"
	"strings"

	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/internal/natsprobe"
	"github.com/modpipe/modpipe/internal/roles"
)

// examineRole compares the permissions of the user with those of a role.
func (d *doctor) examineRole(ctx context.Context) {
	ctx, stop := context.WithTimeout(ctx, doctorPatient)
	defer stop()
	d.Role.Inbox = d.Target.Inbox
	var uses []natsprobe.Use
	for _, t := range roles.Trials(d.As, d.Role, ident.New()) {
		uses = append(uses, natsprobe.Use(t))
	}
	missing, excessive, err := d.probe.Role(ctx, uses)
	if err != nil {
		d.fault("role", "is the server overloaded, or the link very slow?", "the role cannot be checked: %s", err)
		return
	}
	const printed = "compare the user with what `orchestrator auth print --role "
	if len(missing) > 0 {
		d.fault("missing permissions", printed+string(d.As)+"` prints", "%s", strings.Join(missing, "; "))
	}
	if len(excessive) > 0 {
		d.warn("excessive permissions", printed+string(d.As)+"` prints: who has this user's credentials can use them", "%s", strings.Join(excessive, "; "))
	}
	if len(missing)+len(excessive) == 0 {
		d.ok("role", "the user has the permissions of the role %s, and no others of modpipe", d.As)
	}
}
