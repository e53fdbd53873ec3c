package pipeline

import "strings"

// The table of all keys of the file. What is checked beyond it (names that
// must exist, cycles, expressions) is in the decoder.

func text(doc string, r reach) *shape { return &shape{form: textForm, doc: doc, reach: r} }

func patterned(doc string, r reach, pattern string, valid func(string) error) *shape {
	return &shape{form: textForm, doc: doc, reach: r, pattern: pattern, valid: valid}
}

func enum(doc string, r reach, words ...string) *shape {
	return &shape{form: textForm, doc: doc, reach: r, enum: words}
}

// integer is a number from 1 to most.
func integer(doc string, most int) *shape {
	return &shape{form: integerForm, doc: doc, min: 1, max: most}
}

func boolean(doc string) *shape { return &shape{form: booleanForm, doc: doc} }

func listOf(doc string, elem *shape) *shape { return &shape{form: listForm, doc: doc, elem: elem} }

func mapOf(doc string, keys, elem *shape) *shape {
	return &shape{form: mapForm, doc: doc, keys: keys, elem: elem}
}

func object(doc string, fields ...field) *shape {
	return &shape{form: objectForm, doc: doc, fields: fields}
}

func union(doc string, choice ...*shape) *shape {
	return &shape{form: unionForm, doc: doc, choice: choice}
}

// replacing tells an object which keys of other systems its users may write.
func (s *shape) replacing(keys map[string]string) *shape {
	s.foreign = keys
	return s
}

func key(name string, s *shape) field     { return field{key: name, shape: s} }
func mustKey(name string, s *shape) field { return field{key: name, shape: s, required: true} }
func reservedKey(name string) field       { return field{key: name, state: reserved} }

// defaultKey is a key of a module that is allowed in defaults.
func defaultKey(name string, s *shape) field { return field{key: name, shape: s, inherits: true} }

func nameShape(doc string) *shape { return patterned(doc, static, namePattern, validName) }

func duration(doc string) *shape {
	return patterned(doc+" (90s, 1h30m, 1d; 0)", graph, durationPattern, validDuration)
}

func word(doc string) *shape { return patterned(doc, graph, wordPattern, validWord) }

func envMap(doc string, r reach) *shape {
	return mapOf(doc, patterned("name of a variable", static, envPattern, validEnv), text("value, as it is written", r))
}

func passEnvList(doc string) *shape {
	return listOf(doc, union("a variable", patterned("a name or a pattern such as AWS_*", static, passEnvPattern, validPassEnv), passEnvTerms))
}

var passEnvTerms = object("a variable with terms",
	mustKey("name", patterned("its name", static, envPattern, validEnv)),
	key("required", boolean("only workers that allow it run the module, and the module fails where it has no value (false)")),
)

func scopeShape() *shape {
	return enum("how far it reaches: this run, or all runs on the same NATS (run)", static, "run", "cluster")
}

const (
	maxSlots    = 1024
	maxAttempts = 100
	maxLosses   = 1000
	maxLimit    = 1_000_000

	maxRequirements = 64 << 10 // bytes, encoded: all workers are told, in one message of any server

	maxClusterLimit = 500 // one entry names all holders, and must fit into one message of any server
)

var shells = []string{"sh", "bash", "pwsh", "python"}

var paramShape = object("a parameter of the run: --param NAME=VALUE",
	key("type", enum("what values it takes", static, "string", "number", "boolean", "choice")),
	key("options", listOf("the values of a choice", text("a value", static))),
	key("default", text("the value when none is given", static)),
	key("required", boolean("a value must be given")),
	key("description", text("what it is for", static)),
	key("from-env", patterned("variable of the submitter that gives the value when --param does not", static, envPattern, validEnv)),
)

var limitShape = object("a counting limit",
	mustKey("max", integer("how many may hold it at the same time", maxLimit)),
	key("scope", scopeShape()),
)

var needShape = union("a module that must end before this one starts",
	nameShape("a module"),
	object("a need with terms",
		mustKey("module", nameShape("a module")),
		key("optional", boolean("runs also when it was skipped or is not in the run")),
		key("same", listOf("axes: only the members whose values are mine", nameShape("an axis"))),
	),
)

var requiresShape = object("what a worker must offer: all of it, without regard to case",
	key("os", patterned("operating system, as Go names it", graph, wordPattern, validPlatform)),
	key("arch", patterned("architecture, as Go names it", graph, wordPattern, validPlatform)),
	key("tools", listOf("executables on its PATH", patterned("name or name>=1.2", graph, toolPattern, validTool))),
	key("tags", listOf("its tags", word("a tag"))),
	key("labels", mapOf("its labels", patterned("name of a label", static, wordPattern, validWord), word("value of a label"))),
	key("cpus", integer("processors, at least", 4096)),
	key("memory", patterned("memory, at least (512Mi, 16Gi, 8G)", graph, memoryPattern, validMemory)),
)

var axisShape = listOf("values, or one expression that gives a list", text("a value, as it is written", ready))

var matrixShape = func() *shape {
	combination := mapOf("axes and values", nameShape("an axis"), text("a value, as it is written", graph))
	combination.least = 1
	return &shape{
		form: mapForm, doc: "axis → values: one module per combination; include and exclude as in GitHub Actions",
		keys: nameShape("an axis"), elem: axisShape, least: 1, fields: []field{
			key("include", listOf("combinations to add or to extend", combination)),
			key("exclude", listOf("combinations to leave out", combination)),
		},
	}
}()

var retryShape = object("which ends of an attempt are tried again",
	key("attempts", integer("how often, the first included (1)", maxAttempts)),
	key("delay", duration("before the second attempt, then doubling; jitter adds up to a quarter (1s)")),
	key("max-delay", duration("bound of the delay, before jitter (1m)")),
	key("exit-codes", listOf("only these; any failure or time-out otherwise", integer("an exit code", 255))),
)

var exclusionShape = union("modules that share a key never run at the same time; true: alone in its run",
	boolean("alone in its run"),
	listOf("keys", union("a key", text("a key", graph), object("a key",
		mustKey("key", text("a key", graph)),
		key("scope", scopeShape()),
	))),
)

var limitUseShape = listOf("counting limits that it holds while it runs", union("a limit",
	patterned("a name from limits", graph, namePattern, validName),
	object("a limit declared here",
		mustKey("name", nameShape("its name")),
		mustKey("max", integer("how many may hold it at the same time", maxLimit)),
		key("scope", scopeShape()),
	)))

var commandShape = func() *shape {
	s := listOf("words, without a shell", text("a word, as it is written", ready))
	s.least = 1
	return s
}()

var moduleShape = object("a module: one node of the graph",
	key("run", text("text for the shell", script)),
	key("command", commandShape),
	defaultKey("shell", enum("sh -eu, bash --noprofile --norc -euo pipefail, pwsh, python (sh)", static, shells...)),
	key("needs", listOf("modules that must end before this one starts", needShape)),
	key("description", text("what it does", graph)),
	defaultKey("category", text("for --category", graph)),
	defaultKey("dir", &shape{form: textForm, doc: "directory below the workspace (.)", reach: graph, valid: validDir}),
	defaultKey("env", envMap("environment variables, over the pipeline's", ready)),
	defaultKey("pass-env", passEnvList("taken from the worker's own environment")),
	defaultKey("stdin", text("standard input", ready)),
	key("outputs", listOf("names that the module sets", nameShape("an output"))),
	defaultKey("requires", requiresShape),
	defaultKey("slots", integer("how many slots an attempt takes (1)", maxSlots)),
	key("matrix", matrixShape),
	key("if", &shape{form: conditionForm, doc: "boolean expression, bare or one whole ${{ }}"}),
	defaultKey("always-run", boolean("runs however its needs ended")),
	defaultKey("ignore-failure", boolean("its failure does not fail the run")),
	defaultKey("timeout", duration("per attempt, from its start; 0 = none; 6h unless said")),
	defaultKey("grace", duration("between TERM and KILL; 10s unless said")),
	defaultKey("queue-timeout", duration("while no capable worker lives; 5m unless said")),
	defaultKey("max-losses", integer("workers lost under it, or machines that cannot begin it (3)", maxLosses)),
	defaultKey("retry", retryShape),
	defaultKey("not-in-parallel", exclusionShape),
	defaultKey("limit", limitUseShape),
	defaultKey("priority", enum("orders what is ready (normal)", graph, "low", "normal", "high", "critical")),
	key("uses", patterned("go:NAME, a Go function of the program that includes the file", static, usesPattern, validUses)),
	key("with", mapOf("what the function is given, by name", nameShape("a name"), text("a value, as it is written", ready))),
	key("artifacts", artifactsShape),
	defaultKey("cache", cacheShape),
	defaultKey("cache-dirs", mapOf("name → directory that is kept between attempts", nameShape("name of a directory"), cacheDirShape)),
	defaultKey("secrets", secretsShape),
	defaultKey("secrets-in-artifacts", boolean("store artifacts and cache directories also with a secret in them")),
).replacing(foreignModuleKeys)

// defaultsShape has the keys of a module that every module may share.
var defaultsShape = func() *shape {
	s := object("keys for every module: maps merge, lists and scalars replace, null removes")
	for _, f := range moduleShape.fields {
		if f.inherits {
			s.fields = append(s.fields, f)
		}
	}
	return s.replacing(foreignDefaultsKeys)
}()

var fileShape = func() *shape {
	modules := mapOf("name → module", nameShape("name of a module"), moduleShape)
	modules.least = 1
	s := object("A modpipe pipeline",
		mustKey("name", patterned("name of the pipeline", static, titlePattern, validTitle)),
		key("params", mapOf("name → parameter", nameShape("name of a parameter"), paramShape)),
		key("env", envMap("environment variables for every module", graph)),
		key("pass-env", passEnvList("taken from the worker's own environment, for every module")),
		key("fail-fast", boolean("the first failure cancels the rest (true)")),
		key("deadline", duration("over the whole run; none unless said")),
		key("limits", mapOf("name → limit", nameShape("name of a limit"), limitShape)),
		key("defaults", defaultsShape),
		mustKey("modules", modules),
		key("isolated", boolean("every module runs in a copy of the workspace, here too (false)")),
		key("workspace", workspaceShape),
	)
	for w := range strings.FieldsSeq("on include templates concurrency services container approve notify reports version") {
		s.fields = append(s.fields, reservedKey(w))
	}
	s.free = true
	return s.replacing(foreignFileKeys)
}()
