package pipeline

import (
	"fmt"
	"strconv"
	"strings"
)

// Keys that other systems have at these places, and what to write instead.

// foreignModuleKeys are keys of GitHub's jobs and steps, and of a few others, at a module.
var foreignModuleKeys = map[string]string{
	"runs-on":           "write requires: {os: linux, tags: [gpu]}, which says what a worker must offer",
	"steps":             "write run: | with the commands of all steps, one a line, or several modules with needs",
	"timeout-minutes":   "write timeout: 5m",
	"strategy":          "write matrix: at the module itself; fail-fast belongs to the top level, and max-parallel is limit: {name: NAME, max: 2}",
	"max-parallel":      "write limit: {name: NAME, max: 2}",
	"fail-fast":         "write it at the top level: it is about the run",
	"working-directory": "write dir:",
	"continue-on-error": "write ignore-failure: true",
	"name":              "the key of a module is its name; write description: for a text",
	"id":                "the key of a module is its name",
	"concurrency":       "write not-in-parallel: [KEY], or {key: KEY, scope: cluster} between runs: modules wait for each other, and none is cancelled",
	"container":         "write requires: {tools: [docker]} and start it in run: docker run …",
	"image":             "write requires: {tools: [docker]} and start it in run: docker run …",
	"services":          "start the service in run, or beside the workers; requires: {labels: {…}} chooses machines that have it",
	"permissions":       "leave it out: a module has no token",
	"environment":       "write env: for variables, or requires: {labels: {…}} to choose machines",
	"script":            "write run: | with the commands, one a line",
	"cmds":              "write run: | with the commands, one a line",
	"cmd":               "write run: for a text, or command: for a list of words",
	"before_script":     "write the commands at the beginning of run",
	"after_script":      "write a module with needs: [NAME] and always-run: true",
	"stage":             "write needs: [NAME], which orders modules",
	"deps":              "write needs:",
	"depends":           "write needs:",
	"depends_on":        "write needs:",
	"depends-on":        "write needs:",
	"dependencies":      "write needs:",
	"allow_failure":     "write ignore-failure: true",
	"ignore_error":      "write ignore-failure: true",
	"variables":         "write env:",
	"vars":              "write env:",
	"tags":              "write requires: {tags: […]}",
	"rules":             "write if: with one condition",
	"when":              "write if: with a condition, or always-run: true",
	"only":              "write if: with a condition",
	"except":            "write if: with a condition",
	"parallel":          "write matrix:",
	"cwd":               "write dir:",
	"working_dir":       "write dir:",
}

// foreignFileKeys are keys at the top level.
var foreignFileKeys = map[string]string{
	"jobs":            "write modules:",
	"tasks":           "write modules:",
	"steps":           "write modules:, with needs between them",
	"stages":          "leave it out: needs orders modules",
	"on":              "leave it out: a run starts when `orchestrator run` is called; its inputs are params",
	"triggers":        "leave it out: a run starts when `orchestrator run` is called",
	"schedule":        "leave it out: cron or a timer calls `orchestrator run`",
	"inputs":          "write params:",
	"variables":       "write env:",
	"vars":            "write env:",
	"run-name":        "leave it out: `run --label` describes a run",
	"permissions":     "leave it out: a module has no token",
	"concurrency":     "write not-in-parallel: {key: KEY, scope: cluster} at the modules: they wait for each other, and none is cancelled",
	"services":        "start the service in a module's run, or beside the workers",
	"container":       "write requires: {tools: [docker]} at the modules and start it in run: docker run …",
	"image":           "write requires: {tools: [docker]} at the modules and start it in run: docker run …",
	"timeout-minutes": "write deadline: 1h for the run, or defaults: {timeout: 5m} for each module",
	"timeout":         "write deadline: for the run, or defaults: {timeout: 5m} for each module",
	"runs-on":         "write defaults: {requires: {os: linux}}",
	"strategy":        "write matrix: at a module; fail-fast belongs here, at the top level",
}

// foreignDefaultsKeys are keys of defaults.
var foreignDefaultsKeys = map[string]string{
	"run":               "write its keys here: defaults: {shell: bash, dir: src}",
	"runs-on":           foreignModuleKeys["runs-on"],
	"timeout-minutes":   foreignModuleKeys["timeout-minutes"],
	"working-directory": foreignModuleKeys["working-directory"],
	"continue-on-error": foreignModuleKeys["continue-on-error"],
}

// instead says what to write for a key of another system; empty for others.
func (s *shape) instead(key string, value *node) string {
	hint := s.foreign[key]
	if hint == "" {
		return ""
	}
	if minutes, err := strconv.Atoi(value.Value); err == nil && key == "timeout-minutes" {
		return strings.Replace(hint, "5m", fmt.Sprintf("%dm", minutes), 1)
	}
	if os := platformOf(value); key == "runs-on" && os != "" {
		return "write requires: {os: " + os + "}, which says what a worker must offer"
	}
	return hint
}

// platformOf is the operating system that a label of GitHub's machines names.
func platformOf(value *node) string {
	for _, n := range value.elements() {
		image, _, _ := strings.Cut(strings.ToLower(n.Value), "-")
		switch image {
		case "ubuntu", "linux":
			return "linux"
		case "macos":
			return "darwin"
		case "windows":
			return "windows"
		}
	}
	return ""
}
