// Package pipeline holds the immutable graph that a run executes, reads it
// from a file, and evaluates the expressions in it. It is pure: bytes in, data
// and faults out; no clock, no environment but what Bind is given, no I/O.
//
// # Nouns
//
// A [File] is what [Parse] made of a pipeline file: read, checked, and not
// bound to parameters. [File.Bind] puts parameters in and gives a [Pipeline],
// plain data that travels in a run's log. Its [Module] values are the nodes of
// the graph; those of a matrix are members of a family. A family whose axes
// come from results is one placeholder in the graph (Module.Dynamic),
// until the run expands it: [Pipeline.Combinations], then [Pipeline.Members].
// A [Text] is a string with expressions in it that read needs; everything else
// was put in by Bind.
//
// # What is checked when
//
// Parse finds all faults that need no value, and reports them together: the form of the file,
// by the table of shapes (shapes.go), from which [Schema] is built as well; names, needs, cycles,
// limits; and every expression, for its names and types. Bind finds what
// parameters do: a wrong value, a duration that an expression gave, a matrix
// that is empty. Faults that depend on results fail the modules that read them:
// [Pipeline.Condition], [Pipeline.ResolveCommand] and Combinations return an
// error with the expression and its place in the file.
//
// Faults are a [Faults], sorted, each with its place and an excerpt. A node
// that has a fault is not looked at again, and one that several modules share
// (an anchor, the defaults) is reported once.
//
// # How a file becomes modules
//
// YAML becomes a tree of nodes that keep what was written and where (tree.go):
// aliases followed, merges done, within a bound. The defaults are merged in (file.go). One decoder (decode.go)
// makes a Module of a declaration. It runs three times: in Parse, where
// expressions are only checked; in Bind, where parameters and the values of
// static matrices are known; and in Members, on the declaration that the
// placeholder carries. So there is one reading of every key.
//
// # Expressions
//
// They are expr-lang's, with GitHub's words. Before expr-lang parses one, it is
// rewritten character by character, so that positions stay (expr_source.go):
// hyphens in names after a dot, contains(a, b) as a function. The parsed tree is then walked
// (expr_walk.go), because a missing key of a mapping is a zero value to
// expr-lang: the walk knows every name, and replaces reads of outputs by calls
// that can tell that an output was not set. A value is never parsed again as
// an expression. Functions that read the clock or have no order are missing: an expression
// gives the same value on every machine.
//
// # Invariants
//
//   - Nothing changes a Pipeline after Bind; Select and Members make copies.
//   - Names and tokens are unique within a run, dynamic members included.
//   - Every need names a module or a family that exists, and there is no cycle.
//   - Equal requirements are equal data: lower case, sorted, without duplicates.
//   - No function of this package panics on any input.
package pipeline
