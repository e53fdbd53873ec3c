package cli

import (
	"io"

	"github.com/modpipe/modpipe/internal/console"
)

// emit writes v as -o asks; table and names write the two other forms.
func (a *app) emit(v any, table, names func(io.Writer)) error {
	switch a.set.Output {
	case "json":
		return console.JSON(a.Stdout, v)
	case "yaml":
		return console.YAML(a.Stdout, v)
	case "name":
		names(a.Stdout)
	default:
		table(a.Stdout)
	}
	return nil
}
