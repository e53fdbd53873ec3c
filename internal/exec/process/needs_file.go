package process

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// needsJSON is the content of the file $MODPIPE_NEEDS. The values of the needs
// have been fetched.
func needsJSON(needs map[string]jobs.Need) ([]byte, error) {
	doc := make(map[string]needDoc, len(needs))
	for name, n := range needs {
		d, err := needDocOf(n)
		if err != nil {
			return nil, fmt.Errorf("outputs of %s: %w", name, err)
		}
		doc[name] = d
	}
	return marshalPlain(doc)
}

// needDoc is one direct need in $MODPIPE_NEEDS: a module with outputs, or a
// family with members.
type needDoc struct {
	Status  string             `json:"status"`
	Reason  string             `json:"reason,omitempty"`
	Outputs *map[string]string `json:"outputs,omitempty"`
	Result  any                `json:"result,omitempty"` // of a Go function
	Members *[]memberDoc       `json:"members,omitempty"`
}

type memberDoc struct {
	Matrix  map[string]string `json:"matrix"`
	Status  string            `json:"status"`
	Outputs map[string]string `json:"outputs"`
}

func needDocOf(n jobs.Need) (needDoc, error) {
	d := needDoc{Status: string(n.Status), Reason: n.Reason}
	if n.Outputs.Kind == jobs.ResultValue {
		result, err := n.Outputs.Result()
		d.Result = pipeline.Exact(result)
		return d, err
	}
	if !n.Family && len(n.Members) == 0 {
		outputs, err := outputsOf(n.Outputs)
		d.Outputs = &outputs
		return d, err
	}
	members := make([]memberDoc, 0, len(n.Members))
	for _, m := range n.Members {
		matrix := make(map[string]string, len(m.Matrix))
		for _, p := range m.Matrix {
			matrix[p.Axis] = p.Value
		}
		outputs, err := outputsOf(m.Outputs)
		if err != nil {
			return d, err
		}
		members = append(members, memberDoc{Matrix: matrix, Status: string(m.Status), Outputs: outputs})
	}
	d.Members = &members
	return d, nil
}

// outputsOf is never nil, so that readers find {} and not null.
func outputsOf(v jobs.Value) (map[string]string, error) {
	outputs, err := v.Outputs()
	if outputs == nil {
		outputs = map[string]string{}
	}
	return outputs, err
}

// marshalPlain does not escape <, > and &, because scripts read the file.
func marshalPlain(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}
