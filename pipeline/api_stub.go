package pipeline

// File is a parsed pipeline file without faults, not yet bound to parameters.
type File struct{}

// Parse reads a pipeline file. name is used in messages. The error is a Faults with every fault found.
func Parse(name string, src []byte) (*File, error) { panic("stub") }

// Param describes a parameter.
type Param struct {
	Name, Type, Description, FromEnv string
	Options                          []string
	Default                          any
	Required                         bool
}

// Name is the pipeline's name.
func (f *File) Name() string { panic("stub") }

// Params are the declared parameters in the order of the file.
func (f *File) Params() []Param { panic("stub") }

// Bind makes the graph with these parameters (as text, from --param; absent: env of FromEnv via lookup, then the default).
// The error is a Faults.
func (f *File) Bind(params map[string]string, lookupEnv func(string) (string, bool)) (*Pipeline, error) {
	panic("stub")
}

// Selection says which modules take part in a run (design §3 Selection).
type Selection struct{ Only, Category, Skip, SkipCategory []string }

// Select returns a copy of the pipeline in which what is not selected is marked Unselected. Unknown names are errors with a suggestion.
func (p *Pipeline) Select(s Selection) (*Pipeline, error) { panic("stub") }

// Resolve says which of modules (the engine's list, which grows when families expand) a need of m stands for: indices in modules.
// families: name → indices. A family that is not expanded is its placeholder.
func Resolve(m *Module, n Need, modules []*Module, byName map[string]int, families map[string][]int) []int {
	panic("stub")
}

// Condition evaluates m.If; true when there is none.
func (p *Pipeline) Condition(m *Module, s Scope) (bool, error) { panic("stub") }

// Reads are the direct needs of m whose outputs its condition (or, for a placeholder, its axes) reads / its texts read.
func (m *Module) ConditionReads() []string { panic("stub") }

// TextReads likewise for env, command, stdin.
func (m *Module) TextReads() []string { panic("stub") }

// Resolved is a command with every expression put in.
type Resolved struct {
	Run, Shell string
	Args       []string
	Dir        string
	Env        []Pair // pipeline's, then module's own after: two lists, since `run --env` stands between them
	ModuleEnv  []Pair
	PassEnv    []string
	Stdin      string
	Warnings   []string
}

// ResolveCommand puts the results of needs into the command of m. Env of an always-run module gets empty text + a warning for outputs that were not set.
func (p *Pipeline) ResolveCommand(m *Module, s Scope) (Resolved, error) { panic("stub") }

// Combinations evaluates the axes of a placeholder: the matrix of each member, at most 10,000, none for an empty list.
func (p *Pipeline) Combinations(m *Module, s Scope) ([][]Pair, error) { panic("stub") }

// Members makes the modules of a family from its combinations; numbers (tokens) are their positions from 0.
func (p *Pipeline) Members(m *Module, combinations [][]Pair) ([]*Module, error) { panic("stub") }

// Schema is the JSON Schema of the pipeline file.
func Schema() ([]byte, error) { panic("stub") }
