package scriptline

import (
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"
)

func TestDeepScriptTakesLittleStack(t *testing.T) {
	defer debug.SetMaxStack(debug.SetMaxStack(250 << 20))
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

// BenchmarkScript measures a script of ten lines, without marks and with them.
func BenchmarkScript(b *testing.B) {
	const text = "cd /tmp\nx=1\ny=$((x + 2))\nif [ $y = 3 ]; then\n  z=ok\nfi\ncase $z in ok) ;; *) exit 1 ;; esac\n" +
		"echo \"$x $y $z\" >/dev/null\n/bin/true\nfor i in 1 2 3 4 5; do x=$((x + i)); done\n"
	for shell, words := range shells {
		s, ok := Mark(text, shell, "/tmp/line")
		if !ok {
			b.Fatal("left alone")
		}
		for name, script := range map[string]string{"plain": text, "marked": s.Text} {
			b.Run(shell+"/"+name, func(b *testing.B) {
				for b.Loop() {
					if err := exec.CommandContext(b.Context(), words[0], append(words[1:len(words):len(words)], "-c", script)...).Run(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
