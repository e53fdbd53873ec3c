package scriptline

import (
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// facts are what holds for all of a script.
type facts struct {
	goesOn    bool            // it may go on after a failure (set +e)
	execs     bool            // another program may take the place of the shell
	open      bool            // it may set traps, trace itself or export all variables
	functions map[string]bool // that it defines
	curious   bool            // one of its functions reads $?
}

// learn finds the facts. It reports false for a script that must be left alone.
func learn(file *syntax.File) (facts, bool) {
	f := facts{functions: map[string]bool{}}
	var bodies []syntax.Node
	alone := false
	for n := range syntax.Preorder(file) {
		switch n := n.(type) {
		case *syntax.FuncDecl:
			if n.Name != nil {
				f.functions[n.Name.Value] = true
			}
			bodies = append(bodies, n.Body)
		case *syntax.CallExpr:
			alone = f.call(n) || alone
		case *syntax.ParamExp: // the last word of the command before, which may be a mark
			alone = alone || n.Param != nil && n.Param.Value == "_"
		}
	}
	f.curious = slices.ContainsFunc(bodies, readsStatus)
	return f, !alone
}

// call learns from a command. It reports whether marks would be seen.
func (f *facts) call(c *syntax.CallExpr) bool {
	words := literals(c.Args)
	for len(words) > 1 && (words[0] == "command" || words[0] == "builtin") {
		words = words[1:]
	}
	if len(words) == 0 {
		return false
	}
	switch words[0] {
	case "eval", ".", "source":
		f.open, f.goesOn = true, true
	case "trap":
		f.open = true
	case "exec":
		f.execs = f.execs || len(words) > 1
	case "set":
		return f.set(words[1:])
	}
	return false
}

// set learns from the options that a script sets.
func (f *facts) set(words []string) bool {
	for _, w := range words {
		switch {
		case w == "--" || w == "-":
			return false
		case w == "verbose" || strings.HasPrefix(w, "-") && strings.Contains(w, "v"):
			return true
		case w == "pipefail" || strings.HasPrefix(w, "-") && strings.Trim(w, "-euoC") == "":
		case strings.HasPrefix(w, "+"):
			f.goesOn = true
		default: // among them words that are known only when it runs
			f.open = true
		}
	}
	return false
}

// literals are the words of a command, empty where they are known only when it
// runs.
func literals(args []*syntax.Word) []string {
	var words []string
	for _, a := range args {
		words = append(words, a.Lit())
	}
	return words
}

// readsStatus reports whether a statement may read the status of the one
// before it.
func (f *facts) readsStatus(s *syntax.Stmt) bool {
	if readsStatus(s) {
		return true
	}
	if !f.curious {
		return false
	}
	for n := range syntax.Preorder(s) {
		if c, ok := n.(*syntax.CallExpr); ok && len(c.Args) > 0 && (c.Args[0].Lit() == "" || f.functions[c.Args[0].Lit()]) {
			return true
		}
	}
	return false
}

func readsStatus(root syntax.Node) bool {
	for n := range syntax.Preorder(root) {
		switch n := n.(type) {
		case *syntax.ParamExp:
			if n.Param != nil && slices.Contains([]string{"?", "PIPESTATUS"}, n.Param.Value) {
				return true
			}
		case *syntax.SglQuoted: // for eval
			if strings.Contains(n.Value, "$?") || strings.Contains(n.Value, "PIPESTATUS") {
				return true
			}
		case *syntax.CallExpr:
			if words := literals(n.Args); len(words) == 1 && (words[0] == "exit" || words[0] == "return") {
				return true
			}
		}
	}
	return false
}

// endsAtZero reports whether $? is 0 when the script goes on after s.
func (f *facts) endsAtZero(s *syntax.Stmt) bool {
	if s.Background {
		return true
	}
	if f.goesOn || s.Negated {
		return false
	}
	switch c := s.Cmd.(type) {
	case *syntax.BinaryCmd:
		return c.Op != syntax.AndStmt
	case nil, *syntax.CallExpr, *syntax.DeclClause, *syntax.TestClause, *syntax.ArithmCmd, *syntax.Subshell, *syntax.FuncDecl:
		return true
	}
	return false
}

// mayFail reports whether s may end the script.
func mayFail(s *syntax.Stmt) bool {
	switch c := s.Cmd.(type) {
	case *syntax.FuncDecl:
		return false
	case *syntax.CallExpr:
		return len(c.Args) > 0 || len(s.Redirs) > 0 || runsCommands(s)
	}
	return true
}

func runsCommands(root syntax.Node) bool {
	for n := range syntax.Preorder(root) {
		switch n.(type) {
		case *syntax.CmdSubst, *syntax.ProcSubst:
			return true
		}
	}
	return false
}

// builtins are the commands that may run without a process.
var builtins = strings.Fields(`. : [ alias bg break builtin cd command continue declare dirs echo eval exec exit
	export false fg getopts hash help history jobs kill let local logout mapfile popd printf pushd pwd read
	readarray readonly return set shift shopt source suspend test times trap true type typeset ulimit umask
	unalias unset wait`)

// startsProcess reports whether s starts a process whenever it runs.
func (f *facts) startsProcess(s *syntax.Stmt) bool {
	if s.Background || runsCommands(s) {
		return true
	}
	switch c := s.Cmd.(type) {
	case *syntax.Subshell:
		return true
	case *syntax.BinaryCmd:
		return c.Op == syntax.Pipe || c.Op == syntax.PipeAll || f.startsProcess(c.X)
	case *syntax.CallExpr:
		if len(c.Args) == 0 {
			return false
		}
		name := c.Args[0].Lit()
		return name != "" && !f.functions[name] && !slices.Contains(builtins, name)
	}
	return false
}

// special are the commands whose failure ends the script anyway, that change
// how it goes on, or that run other commands.
var special = strings.Fields(`. : break builtin command continue eval exec exit export local readonly return set shift source times trap unset`)

// alone reports whether s is one command that fails alike before ||: a function
// and what runs others would go on after failures in them.
func (f *facts) alone(s *syntax.Stmt) bool {
	heredoc := func(r *syntax.Redirect) bool { return r.Hdoc != nil }
	if s.Negated || s.Background || s.Coprocess || runsCommands(s) || slices.ContainsFunc(s.Redirs, heredoc) {
		return false
	}
	switch c := s.Cmd.(type) {
	case *syntax.TestClause, *syntax.ArithmCmd:
		return true
	case *syntax.CallExpr:
		if len(c.Args) == 0 {
			return false
		}
		name := c.Args[0].Lit()
		return name != "" && !f.functions[name] && !slices.Contains(special, name)
	}
	return false
}
