package worker

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

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

func needDocOf(n jobs.Need, resolve func(jobs.Outputs) (map[string]string, error)) (needDoc, error) {
	d := needDoc{Status: string(n.Status), Reason: n.Reason}
	if n.Outputs.Typed {
		var err error
		d.Result, err = jobs.DecodeResult(n.Outputs.Result)
		d.Result = pipeline.Exact(d.Result)
		return d, err
	}
	if !n.Family && len(n.Members) == 0 {
		values, err := outputsOf(n.Outputs, resolve)
		d.Outputs = &values
		return d, err
	}
	members := make([]memberDoc, 0, len(n.Members))
	d.Members = &members
	for _, m := range n.Members {
		values, err := outputsOf(m.Outputs, resolve)
		if err != nil {
			return d, fmt.Errorf("member %v: %w", m.Matrix, err)
		}
		matrix := make(map[string]string, len(m.Matrix))
		for _, p := range m.Matrix {
			matrix[p.Axis] = p.Value
		}
		members = append(members, memberDoc{Matrix: matrix, Status: string(m.Status), Outputs: values})
	}
	return d, nil
}

// outputsOf is never nil, so that readers find {} and not null.
func outputsOf(o jobs.Outputs, resolve func(jobs.Outputs) (map[string]string, error)) (map[string]string, error) {
	values := o.Values
	if o.Blob.SHA256 != "" {
		var err error
		if values, err = resolve(o); err != nil {
			return nil, err
		}
	}
	if values == nil {
		values = map[string]string{}
	}
	return values, nil
}

// marshalPlain leaves <, > and & as they are: the file is read by scripts.
func marshalPlain(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}
