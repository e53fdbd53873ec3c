package pipeline

import (
	"regexp"
	"strings"
)

// secretName matches names of variables that usually hold secrets.
var secretName = regexp.MustCompile(`(?i)(_TOKEN|_KEY|_SECRET)$|PASSWORD|^TOKEN$`)

// LooksSecret reports whether a variable is named as one that holds a secret.
// The path of a file with one is no secret.
func LooksSecret(name string) bool {
	return secretName.MatchString(name) && !strings.HasSuffix(strings.ToUpper(name), "_FILE")
}

// doubtLiterals warns of variables that look like secrets and have their value in the file.
func (c *collector) doubtLiterals(root *node) {
	c.doubtEnv(root.get("env"))
	if modules := root.get("modules"); modules != nil && modules.Kind == mapNode {
		for _, m := range modules.Items {
			c.doubtEnv(m.get("env"))
		}
	}
}

func (c *collector) doubtEnv(env *node) {
	if env == nil || env.Kind != mapNode {
		return
	}
	for i, k := range env.Keys {
		v := env.Items[i]
		if !LooksSecret(k.Value) || v.Kind != scalarNode || v.Value == "" || strings.Contains(v.Value, "${{") {
			continue
		}
		c.add(&c.warnings, position{k.Line, k.Col}, k.Value+inTheLog, "name it in `secrets` instead")
	}
}

// DoubtVariables warns of variables that look like secrets and are given to a run by
// --env, or by a file of variables.
func DoubtVariables(vars []KeyValue) (warnings Faults) {
	for _, v := range vars {
		if v.Value != "" && LooksSecret(v.Key) {
			warnings = append(warnings, Fault{File: "--env", Text: v.Key + inTheLog, Suggestion: "orchestrator run --secret " + v.Key + " takes it from the environment, for modules that name it in `secrets`"})
		}
	}
	return warnings
}

const inTheLog = " looks like a secret, and values of env are in the log of the run"
