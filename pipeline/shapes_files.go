package pipeline

// The shapes of what says which files a module takes and leaves.

func globList(doc string, r reach) *shape {
	return listOf(doc, patterned("a glob: ** stands for any directories", r, globPattern, validGlob))
}

var workspaceShape = union("which files of the workspace a run takes along: what git tracks or does not ignore, unless said; false: none",
	boolean("false: none"),
	object("which files of the workspace a run takes along",
		key("include", globList("only these, whether or not git knows them", static)),
		key("exclude", globList("not these", static)),
		key("git", union("the .git directory: true for the commit alone, full for all commits and tags (false)",
			boolean("the commit alone"), enum("all commits and tags", static, "full"))),
		key("also", listOf("further directories, beside the first", object("a further directory",
			mustKey("dir", &shape{form: textForm, doc: "relative to the workspace: ../site", reach: static, valid: validOtherDir}),
			mustKey("at", &shape{form: textForm, doc: "where its files are, below the workspace", reach: static, valid: validSubdirectory}),
		))),
	),
)

func artifactName(doc string) *shape {
	return patterned(doc, ready, artifactPattern, validArtifact)
}

var produceShape = union("files that the module leaves for others",
	mapOf("name → globs", artifactName("name of an artifact"), globsOf(ready)),
	listOf("artifacts", object("an artifact",
		mustKey("name", artifactName("its name")),
		mustKey("path", globsOf(ready)),
		key("optional", boolean("nothing may match (false)")),
		key("when", enum("after which attempts it is stored (success)", static, "success", "failure", "always")),
	).replacing(map[string]string{
		"paths": "write path, which may be a list", "if-no-files-found": "write optional: true if nothing may match",
		"retention-days": "an artifact lives as long as the run's log",
	})),
)

// globsOf are the globs of an artifact: those that begin with ! exclude.
func globsOf(r reach) *shape {
	s := listOf("globs below the workspace; ! excludes", patterned("a glob; ! excludes", r, globPattern, validArtifactGlob))
	s.least = 1
	return s
}

var consumeShape = listOf("artifacts that the module finds before it starts", union("an artifact",
	patterned("name of an artifact, or a pattern such as coverage-*", ready, artifactsPattern, validArtifacts),
	object("an artifact with terms",
		mustKey("name", patterned("its name, or a pattern such as coverage-*", ready, artifactsPattern, validArtifacts)),
		key("from", nameShape("the need that produces it, when several do")),
		key("to", &shape{form: textForm, doc: "directory below the workspace; unless said, the files return to where they were", reach: ready, valid: validDestination}),
		key("merge", boolean("the files of all members, or of all names, into one directory (false)")),
		key("same", listOf("axes: only the members whose values are mine", nameShape("an axis"))),
		key("from-run", enum("take it from the last successful run instead of a need", static, "latest")),
		key("pipeline", patterned("with from-run: whose run (this pipeline)", graph, titlePattern, validTitle)),
		key("label", mapOf("with from-run: labels that the run has", patterned("name of a label", static, wordPattern, validWord), text("value of a label", graph))),
	).replacing(map[string]string{
		"path": "write to", "pattern": "write name: its * and ? make a pattern", "merge-multiple": "write merge",
		"labels": "write label: {branch: main}",
	}),
))

var artifactsShape = object("files that modules hand to each other",
	key("produce", produceShape),
	key("consume", consumeShape),
).replacing(map[string]string{
	"paths": "write produce: {NAME: [GLOB, …]}", "path": "write produce: {NAME: [GLOB, …]}", "name": "write produce: {NAME: [GLOB, …]}",
	"upload": "write produce: {NAME: [GLOB, …]}", "download": "write consume: [NAME]",
})

var cacheShape = object("the result is taken from an earlier execution on which nothing differed",
	key("inputs", globList("files that the result depends on; the module is cached when it has this key, which may be []", graph)),
	key("key", listOf("texts that the result depends on", text("a text", ready))),
	key("portable", boolean("the result serves on every os and arch (false)")),
).replacing(map[string]string{
	"path":  "write cache-dirs: {NAME: {path: DIR, key: TEXT}} to keep a directory; cache keeps results",
	"paths": "write cache-dirs: {NAME: {path: DIR, key: TEXT}} to keep a directory; cache keeps results",
})

var cacheDirShape = object("a directory that is kept between attempts",
	key("path", &shape{form: textForm, doc: "below the workspace", reach: graph, valid: validSubdirectory}),
	key("env", patterned("elsewhere; this variable holds its path", static, envPattern, validEnv)),
	mustKey("key", text("of what is kept; hashFiles('go.sum') is known here", ready)),
	key("restore", listOf("when nothing has the key: the newest whose key begins with one of these", text("beginning of a key", ready))),
	key("save", boolean("false: restore only (true)")),
	key("fail-on-miss", boolean("the module fails when nothing is restored (false)")),
).replacing(map[string]string{
	"restore-keys": "write restore", "fail-on-cache-miss": "write fail-on-miss", "lookup-only": "a directory is restored or not used",
	"paths": "write one directory for each: {a: {path: …}, b: {path: …}}",
})
