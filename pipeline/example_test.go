package pipeline_test

import (
	"fmt"

	"github.com/modpipe/modpipe/pipeline"
)

func ExampleParse() {
	_, err := pipeline.Parse("ci.yaml", []byte(`name: ci
modules:
  build: {run: make}
  test: {neds: [build], run: make test, timeout: 30}
`))
	fmt.Println(err)
	// Output:
	// ci.yaml:4:10: unknown key "neds" in test; did you mean "needs"?
	//       test: {neds: [build], run: make test, timeout: 30}
	//              ^
	// ci.yaml:4:50: timeout: duration "30" has no unit: write 30s, 30m or 30h
	//       test: {neds: [build], run: make test, timeout: 30}
	//                                                      ^
}

func ExampleFile_Bind() {
	f, err := pipeline.Parse("ci.yaml", []byte(`name: ci
params: {channel: {type: choice, options: [dev, prod], default: dev}}
modules:
  build:
    matrix: {os: [linux, windows]}
    requires: {os: "${{ matrix.os }}"}
    command: [make, "CHANNEL=${{ params.channel }}"]
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := f.Bind(map[string]string{"channel": "prod"}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range p.Modules {
		fmt.Println(m.Name, m.Token, m.Requires.OS, m.Command.Args[1])
	}
	// Output:
	// build (os=linux) build-0 linux CHANNEL=prod
	// build (os=windows) build-1 windows CHANNEL=prod
}

func ExamplePipeline_ResolveCommand() {
	f, err := pipeline.Parse("ci.yaml", []byte(`name: ci
modules:
  version: {run: ./version.sh, outputs: [version]}
  pack: {needs: version, command: [pack, "${{ needs.version.outputs.version }}"]}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := f.Bind(nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	scope := pipeline.Scope{Needs: map[string]pipeline.NeedView{
		"version": {Status: "succeeded", Outputs: map[string]string{"version": "1.2"}},
	}}
	r, err := p.ResolveCommand(p.Modules[1], scope)
	fmt.Println(r.Args, err)
	// Output: [pack 1.2] <nil>
}
