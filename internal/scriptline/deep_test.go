package scriptline

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestDeepScriptTakesLittleStack(t *testing.T) {
	defer debug.SetMaxStack(debug.SetMaxStack(80 << 20))
	for _, open := range []string{"(", "{ ", "$(", "`", "\"$(", "${a:-", "$((", "if ", "! ", "a|", "a&&", "f()", "<(", "case a in a)"} {
		for _, shell := range []string{"sh", "bash"} {
			Mark("true\n"+strings.Repeat(open, (maxScript-10)/len(open)), shell, "/x")
			Mark("true\n"+strings.Repeat(open+"\n", (maxScript-10)/(len(open)+1)), shell, "/x")
		}
	}
}

func BenchmarkMark(b *testing.B) {
	text := "set -e\n" + strings.Repeat("cp \"$a\" b/c\nif [ -e x ]; then\n  echo $(date)\nfi\n", 3)
	for b.Loop() {
		Mark(text, "sh", "/tmp/modpipe-x/line")
	}
}
