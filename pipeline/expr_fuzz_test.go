package pipeline

import (
	"strconv"
	"testing"
)

// FuzzExpression: any text between ${{ and }} has faults or a value, with any
// values that it reads.
func FuzzExpression(f *testing.F) {
	for _, e := range []string{
		"params.my-count + 1", "needs.my-build.outputs.version", `fromJSON(params.list)[1]`, `needs["my-build"].status == "failed" && !params.dry`,
		`contains(params.channel, "p")`, `params.ratio * 1e300 / 0`, `needs.fam.members[0].outputs.size`, `matrix.os`, `((((1))))`, `"\x00"`, `1 ? 2 : 3`, ``,
	} {
		f.Add(e, "1.2", []byte{0x81, 0xa1, 'a', 0x93, 1, 2, 3})
	}
	f.Fuzz(func(t *testing.T, expr, output string, result []byte) {
		src := neighbours + "  m:\n    needs: [my-build, fam]\n    if: " + strconv.Quote(expr) + "\n    run: " + strconv.Quote("echo ${{ "+expr+" }}") + "\n"
		file, err := Parse("t.yaml", []byte(src))
		if err != nil {
			return
		}
		p, err := file.Bind(nil, nil)
		if err != nil {
			return
		}
		m := p.Modules[len(p.Modules)-1]
		scope := Scope{Needs: map[string]NeedView{
			"my-build": {Status: output, Outputs: map[string]string{"version": output}, Result: string(result)},
			"fam":      ended.Needs["fam"],
		}}
		_, _ = p.ResolveCommand(m, scope)
		_, _ = p.Condition(m, scope)
	})
}
