package progress

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"
)

// ciSystem is the command language of one CI. Its runner finds commands among the lines
// that a step writes. The output of modules contains none, because shownEvent removes
// them.
type ciSystem struct {
	open, shut    func(f ciFold) string      // around folded output
	before, after string                     // around any output
	alarm         func(alarm ciAlarm) string // marks a failure; nil = the CI has no such command
}

// ciFold is a group of lines.
type ciFold struct {
	title    string
	number   int // unique in this log
	from, to time.Time
}

// ciAlarm is a failure in the CI's list of problems.
type ciAlarm struct {
	title, text string
	warning     bool // it does not fail the run
}

// ciSystem finds the CI whose environment this is.
func (c *Config) ciSystem() (ciSystem, bool) {
	switch {
	case c.Env["GITHUB_ACTIONS"] == "true":
		return githubCI(rand.Text()), true
	case c.Env["GITLAB_CI"] != "":
		return gitlabCI(), true
	case c.Env["TF_BUILD"] != "":
		return azureCI(), true
	case c.Env["TEAMCITY_VERSION"] != "":
		return teamcityCI(), true
	}
	return ciSystem{}, false
}

// inCI reports whether a CI runs this process.
func (c *Config) inCI() bool {
	_, known := c.ciSystem()
	return known || c.Env["CI"] != "" && c.Env["CI"] != "false"
}

// githubCI makes the runner ignore commands in the modules' lines. This ends with a token
// that no module knows.
func githubCI(token string) ciSystem {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	return ciSystem{
		open:   func(f ciFold) string { return "::group::" + data.Replace(f.title) + "\n" },
		shut:   func(ciFold) string { return "::endgroup::\n" },
		before: "::stop-commands::" + token + "\n", after: "::" + token + "::\n",
		alarm: func(a ciAlarm) string {
			kind := "error"
			if a.warning {
				kind = "warning"
			}
			return fmt.Sprintf("::%s title=%s::%s\n", kind, property.Replace(a.title), data.Replace(a.text))
		},
	}
}

// gitlabCI writes sections with times. GitLab computes their durations from these.
func gitlabCI() ciSystem {
	section := func(edge string, at time.Time, f ciFold, options, title string) string {
		return fmt.Sprintf("\x1b[0Ksection_%s:%d:module_%d%s\r\x1b[0K%s", edge, at.Unix(), f.number, options, title)
	}
	return ciSystem{
		open: func(f ciFold) string { return section("start", f.from, f, "[collapsed=true]", f.title) + "\n" },
		shut: func(f ciFold) string { return section("end", f.to, f, "", "") + "\n" },
	}
}

// azureCI writes commands of Azure, whose runner finds ##vso[ anywhere in a line.
func azureCI() ciSystem {
	escape := strings.NewReplacer("%", "%AZP25", "\r", "%0D", "\n", "%0A")
	return ciSystem{
		open: func(f ciFold) string { return "##[group]" + f.title + "\n" },
		shut: func(ciFold) string { return "##[endgroup]\n" },
		alarm: func(a ciAlarm) string {
			kind := "error"
			if a.warning {
				kind = "warning"
			}
			return fmt.Sprintf("##vso[task.logissue type=%s]%s\n", kind, escape.Replace(a.title+": "+a.text))
		},
	}
}

// teamcityCI writes service messages, each on a separate line.
func teamcityCI() ciSystem {
	escape := strings.NewReplacer("|", "||", "'", "|'", "\n", "|n", "\r", "|r", "[", "|[", "]", "|]",
		"\u0085", "|x", "\u2028", "|l", "\u2029", "|p")
	name := func(f ciFold) string { return escape.Replace(fmt.Sprintf("%d  %s", f.number, f.title)) }
	return ciSystem{
		open: func(f ciFold) string { return "##teamcity[blockOpened name='" + name(f) + "']\n" },
		shut: func(f ciFold) string { return "##teamcity[blockClosed name='" + name(f) + "']\n" },
		alarm: func(a ciAlarm) string {
			status := "ERROR"
			if a.warning {
				status = "WARNING"
			}
			return fmt.Sprintf("##teamcity[message text='%s' status='%s']\n", escape.Replace(a.title+": "+a.text), status)
		},
	}
}
