package function

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/pipeline"
)

func TestMain(m *testing.M) {
	asked, err := Answer(os.Args[1:], func() (call.Program, error) { return reader{}, nil })
	if asked {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func (reader) Identity() (pipeline.Program, error) { return pipeline.Program{}, nil }
func (r reader) Fresh() call.Program               { return r }
