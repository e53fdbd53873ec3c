package scriptline

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// shells are how the worker starts them.
var shells = map[string][]string{
	"sh":   {"sh", "-eu"},
	"bash": {"bash", "--noprofile", "--norc", "-euo", "pipefail"},
}

// outcome is all that a script shows of itself.
type outcome struct {
	code   int
	output string
}

// play runs a script in its own directory.
func play(t *testing.T, shell, text string) outcome {
	t.Helper()
	words := shells[shell]
	cmd := exec.CommandContext(t.Context(), words[0], append(words[1:], "-c", text)...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if exit := (&exec.ExitError{}); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{code: cmd.ProcessState.ExitCode(), output: out.String()}
}

// failing are scripts that fail, with the line; 0: none may be named.
var failing = []struct {
	name, text string
	line       int
	bash       bool // only bash understands it
}{
	{"a command", "echo a\nfalse\necho b\n", 2, false},
	{"a code", "echo a\n(exit 7)\necho b\n", 2, false},
	{"the first", "false\necho b\n", 1, false},
	{"the last", "echo a\n\nls /nonexistent 2>/dev/null\n", 3, false},
	{"the last without an end", "echo a\nfalse", 2, false},
	{"exit", "echo a\nexit 3\necho b\n", 2, false},
	{"exit in a condition", "echo a\nif true; then\n  exit 3\nfi\necho b\n", 3, false},
	{"exit after or", "echo a\nfalse || exit 3\necho b\n", 2, false},
	{"not found", "echo a\nnosuchcommand 2>/dev/null\necho b\n", 2, false},
	{"unset", "echo a\n\necho $NOPE\necho b\n", 3, false},
	{"redirection", "echo a\necho b > /nonexistent/x\necho c\n", 2, false},
	{"a syntax error in another dialect", "echo a\nif; then\n", 0, false},
	{"substitution", "echo a\nx=$(exit 4)\necho b\n", 2, false},
	{"pipe", "echo a\ntrue | false\necho b\n", 2, false},
	{"pipe over lines", "echo a\ntrue |\n  false\necho b\n", 2, false},
	{"continued", "echo a\nls \\\n  /nonexistent 2>/dev/null\necho b\n", 2, false},
	{"subshell", "echo a\n(\n  echo b\n  false\n)\necho c\n", 2, false},
	{"a function", "f() {\n  echo in\n  false\n}\necho a\nf\necho b\n", 6, false},
	{"die", "die() { echo \"$*\"; exit 9; }\necho a\n[ -e /nonexistent ] || die no\necho b\n", 3, false},
	{"if", "if true; then\n  echo a\n  false\nfi\necho b\n", 3, false},
	{"else", "if false; then\n  echo a\nelse\n  echo b\n  false\nfi\necho b\n", 5, false},
	{"elif", "if false; then\n  echo a\nelif true; then\n  false\nfi\necho b\n", 4, false},
	{"case", "case x in\na) echo a ;;\nx)\n  echo x\n  false\n  ;;\nesac\necho b\n", 5, false},
	{"block", "{\n  echo a\n  false\n}\necho b\n", 3, false},
	{"a loop with commands", "for i in 1 2 3; do\n  env >/dev/null\n  test $i != 2\ndone\necho b\n", 3, false},
	{"a loop without commands", "echo\nfor i in 1 2 3; do\n  echo $i\n  test $i != 2\ndone\necho b\n", 4, false},
	{"a code in a loop without commands", "f() { return 7; }\nfor i in 1 2; do\n  cd \"/nonexistent/$i\" 2>/dev/null # here\ndone\necho b\n", 3, false},
	{"a function in a loop", "f() { return 7; }\n\nfor i in 1 2; do\n  echo $i\n  f\ndone\necho b\n", 3, false},
	{"if in a loop", "for i in 1 2 3; do\n  if [ $i = 2 ]; then\n    echo two\n    ls /nonexistent 2>/dev/null; echo no\n  fi\ndone\n", 4, false},
	{"a loop in a loop", "for i in 1 2 3; do\n  while true; do\n    test $i != 2\n    break\n  done\ndone\n", 3, false},
	{"a list in a loop", "for i in 1 2 3; do\n  echo $i\n  true && test $i != 2\n  :\ndone\n", 1, false},
	{"arithmetic in a loop", "for ((i = 0; i < 3; i++)); do\n  x=$((2 - i))\n  ((x > 0))\ndone\necho b\n", 3, true},
	{"[[ in a loop", "for i in 1 2 3; do\n  [[ $i != 2 ]]\ndone\necho b\n", 2, true},
	{"after a loop", "for i in 1 2 3; do\n  env >/dev/null\n  test $i != 4\ndone\nfalse\necho\n", 5, false},
	{"while", "i=0\nwhile [ $i -lt 3 ]; do\n  i=$(expr $i + 1)\n  [ $i != 2 ]\ndone\necho\n", 4, false},
	{"here-document", "cat <<E\nfalse\nE\nfalse\necho\n", 4, false},
	{"here-document fails", "echo\nfalse <<E\nx\nE\necho\n", 2, false},
	{"comments", "# one\n\n# two\nfalse # three\n# four\necho\n", 4, false},
	{"indented", "  echo a\n\tfalse\n  echo b\n", 2, false},
	{"and", "echo a\ntrue && false\necho b\n", 2, false},
	{"and may fail first", "false && true\nfalse\necho b\n", 2, false},
	{"the last and fails first", "echo a\nfalse && true\n", 2, false},
	{"several on a line", "echo a\necho b; false; echo c\necho d\n", 2, false},
	{"several on the last line", "echo a\necho b; false; echo c\n", 2, false},
	{"begins behind another", "f() {\n echo\n}; false\necho b\n", 0, false},
	{"status read by what is not marked", "false && true\ntest $? = 0\necho b\n", 0, false},
	{"status kept", "false && true\nrc=$?\ntest $rc = 0\necho b\n", 3, false},
	{"set +e", "set +e\nfalse\nrc=$?\nset -e\ntest $rc = 0\necho\n", 5, false},
	{"its own trap", "trap 'echo bye' EXIT\necho a\nfalse\necho b\n", 3, false},
	{"its own trap reads the status", "cleanup() { rc=$?; echo rc $rc; exit $rc; }\ntrap cleanup EXIT\necho a\n(exit 5)\necho b\n", 4, false},
	{"eval", "echo a\neval 'false'\necho b\n", 2, false},
	{"dot", "echo 'false' > lib.sh\n. ./lib.sh\necho b\n", 2, false},
	{"a trap in another file", "echo 'trap \"echo bye\" EXIT' > lib.sh\n. ./lib.sh\nfalse\necho b\n", 3, false},
	{"a trap in another file, at the end", "echo 'trap \"echo bye\" EXIT' > lib.sh\n. ./lib.sh\nfalse\n", 3, false},
	{"traced", "set -x\necho a\nfalse\necho b\n", 3, false},
	{"everything exported", "set -a\nenv | grep LINE || true\nfalse\necho b\n", 3, false},
	{"exec", "echo a\nexec sh -c 'exit 3'\necho b\n", 0, false},
	{"exec at the end", "echo a\nexec sh -c 'exit 3'\n", 0, false},
	{"exec of redirections", "echo a\nexec 3>&1\nfalse\necho b\n", 3, false},
	{"umask", "umask 777\necho a\nfalse\necho b\n", 3, false},
	{"echo is a function", "echo() { printf 'mine\\n'; }\necho a\nfalse\necho b\n", 3, false},
	{"closed output", "exec 2>&-\necho a\nfalse\necho b\n", 3, false},
	{"separated by digits", "IFS=123\necho a\nfalse\necho b\n", 3, false},
	{"another directory", "cd /\nfalse\necho b\n", 2, false},
	{"test command", "echo\n[[ a == b ]]\necho\n", 2, true},
	{"arithmetic", "x=0\n((x > 1))\necho\n", 2, true},
	{"process substitution", "exec > >(cat)\necho a\nfalse\necho b\n", 3, true},
	{"array", "a=(\n x\n y\n)\nfalse\necho\n", 5, true},
	{"last of a pipe", "false | true\necho b\n", 1, true},
	{"quoted with escapes", "x=$'it\\'s\nfoo'\nfalse\necho\n", 3, true},
}

func TestFailedScriptNamesItsLine(t *testing.T) {
	for shell := range shells {
		for _, tc := range failing {
			if tc.bash && shell != "bash" {
				continue
			}
			t.Run(shell+"/"+tc.name, func(t *testing.T) {
				record := filepath.Join(t.TempDir(), "line")
				s, ok := Mark(tc.text, shell, record)
				if !ok {
					if tc.line != 0 {
						t.Fatal("left alone")
					}
					return
				}
				got := play(t, shell, s.Text)
				_ = os.Chmod(record, 0o600)
				text, err := os.ReadFile(record)
				if err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
				line, source := s.Line(string(text))
				if got.code == 0 || line != tc.line {
					t.Errorf("exit code %d, line %d %q, want line %d; it ran:\n%s\nand wrote:\n%s", got.code, line, source, tc.line, s.Text, got.output)
				}
			})
		}
	}
}

// succeeding are scripts whose output says what marks could change.
var succeeding = []string{
	"echo a\necho b",
	"false || true\necho $?\n",
	"false && true\necho $?\nfalse && true\nx=$?\necho $x\n",
	"! true\necho $?\n",
	"if false; then\n  echo\nelse\n  echo $?\nfi\n",
	"f() { echo in $?; }\nfalse && true\nf\necho\n",
	"set +e\nfalse\necho $?\n(exit 7)\necho $?\nset -e\necho\n",
	"set +e\n(exit 7)\nexit\necho\n",
	"false && true\nexit\necho\n",
	"trap\ntrap 'echo bye $?' EXIT\ntrap\necho a\n",
	"trap 'echo bye $?; exit 4' EXIT\necho a\nfalse\necho\n",
	"(trap 'echo sub' EXIT; echo a)\necho b\n",
	"set -x\necho a\nfor i in 1 2; do\n  echo $i\ndone\necho b\n",
	"set -v\necho a\necho b\n",
	"set -a\nX=1\nenv | sort | grep -v PWD | grep -v ^_=\necho\n",
	"env | sort | grep -v PWD | grep -v ^_=\necho\n",
	"cat <<E\na\n  b\nE\ncat <<'E' | tr a b\na\nE\necho done\n",
	"cat <<-E\n\ta\n\tE\necho\n",
	"echo $0\necho $#\necho \"$*\"\n",
	"x='a\nb\nc'\necho \"$x\"\necho \"a\n$x\"\n",
	"echo a \\\n  b\necho c\n",
	"sleep 0.1 &\nwait $!\necho $?\n",
	"(sleep 0.1; echo late) &\nwait\necho\n",
	"read -r x <<E\nhello\nE\necho $x\n",
	"echo a | while read -r x; do\n  echo got $x\n  cat /dev/null\ndone\necho\n",
	"exec 3>&1 >&2\necho a\necho b >&3\n",
	"echo a\nexec echo b\n",
	"kill -TERM $$\necho\n",
	"echo a\nsh -c 'kill -KILL $$'\n",
	"echo a\nkill -KILL $$\n",
	"x=$(echo a\necho b)\necho \"$x\"\n",
	"while true; do\n  cat /dev/null\n  break\ndone\necho a\n",
	"for i in 1 2 3; do\n  env >/dev/null\n  [ $i = 2 ] && continue\n  echo $i\ndone\necho\n",
	"case a in\n  a) echo 1\n     echo 2 ;;\n  *)\n  ;;\nesac\n",
	"nosuch 2>&1 || true\nnosuch2\necho\n",
	"echo \"$NOPE\"\necho\n",
	"alias foo='if true; then'\nfoo\necho a\nfi\necho\n",
	"f() {\n  return 3\n}\nf || echo $?\necho\n",
	"f() {\n  echo in\n  return\n}\nfalse && true\nf\necho\n",
	"x=1 y=2\necho $x$y\nx=3 sh -c 'echo $x'\n>file\ncat file\n",
	"if true\nthen echo a\nfi\n{ echo b\n}\n(\necho c\n)\n",
	"eval 'echo a\nfalse || true'\necho $?\n",
	"echo 'echo lib; trap \"echo bye\" EXIT' > lib.sh\n. ./lib.sh\ntrue\n",
	"umask 077\necho a > f\nls -l f | cut -c1-10\n",
	"ulimit -n 64\necho a\nfalse\n",
	"i=0\nwhile [ $i -lt 3 ]; do\n  i=$((i+1))\n  echo $i\ndone\necho\n",
	"until true; do\n  :\ndone\necho $?\n",
	"true; false || true; echo $?\necho\n",
	"for i in 1 2 3; do\n  echo $i\n  [ $i != 2 ] || continue\n  cd . >/dev/null; echo after\ndone\necho $?\n",
	"set +e\nfor i in 1 2; do\n  test $i = 3\n  echo $?\ndone\necho\n",
	"for i in 1 2; do\n  cat <<E\nx $i\nE\n  read x <<E\nb\nE\ndone\necho $x\n",
	"for i in 1 2; do\n  read -r x <<E\nb\nE\n  echo $x >&2; printf '%s\\n' a \\\n  b\ndone\necho $x\n",
	"for i in 1 2; do\n  true &\n  wait\n  ! true\n  echo $?\ndone\n",
	"a=$$\nsh -c '[ $$ = '$a' ] && echo the shell itself || echo a child'\n", // of the last command
	"unset x\necho \"${x:-'}\"\necho \"it's\"\necho '}'\n",
	"unset x\necho \"${x:-\"a\nb\"}\"\necho ${x:-'a\nb'}\n",
	"x='a}b'\necho \"${x%\\}*}\" ${x#*'}'}\necho \"${x#\"a\"}\"\n",
	"echo `echo \\`echo a\\``\necho \"`echo \"a\nb\"`\"\n",
	"cat <<\"E\"\n$x `a`\nE\ncat <<E\n$(echo 'a\nE\n')\nE\necho\n",
	"cat <<A; cat <<B\n1\nA\n2\nB\necho\n",
	"x=$(case a in a) echo b;; esac)\necho $x\ncase x in (x) echo y\n echo z;; esac\n",
	"echo $((1\n+ 2)) # it's\n# don't\necho a#b 'c\n#d'\n",
	"echo \"a\n# no comment\nb\"\necho 'x\ny'\necho \\\nz\n",
	"trap 'echo bye' EXIT; ulimit -f 0\necho a\necho b\n",
	"sleep 0.1 & p=$!\nwait $p && echo waited\njobs\necho\n",
	"{ echo a; echo b; } | {\n read -r x\n echo $x\n cat\n}\n(exit 3) || echo $?\n",
	"f() if true\nthen\n  echo in\nfi\nf\necho\n",
	"for i in a \\\n  b\ndo echo $i\ncat /dev/null\ndone\nwhile false\ndo :\ndone\necho $?\n",
	"if false\nthen :\nelif true\nthen\n  echo e\nelse\n  echo n\nfi >out\ncat out\n",
	"! false\necho $?\n! {\nfalse\n}\necho $?\n",
	"f() (\n  exit 3\n)\nif f\nthen echo\nfi\necho $?\n",
	"set -- a b\necho $1\nshift\necho $1\nset -eu\necho\n",
}

// onlyBash are such scripts for bash.
var onlyBash = []string{
	"echo $LINENO\n\necho $LINENO\nf() {\n  echo $LINENO\n}\nf\n",
	"mkdir x\ncd $_\nbasename $PWD\n",
	"a=(1\n 2\n 3)\necho ${a[@]}\n[[ a == a &&\n b == b ]]\necho\n",
	"false | true || echo ${PIPESTATUS[@]}\necho\n",
	"trap 'echo err $LINENO' ERR\necho\nfalse\necho\n",
	"trap 'echo debug $BASH_COMMAND' DEBUG\necho\necho\n",
	"shopt -s expand_aliases\nalias foo='echo hi'\nfoo\n",
	"exec > >(cat)\necho a\necho b\n",
	"diff <(echo a) <(\necho a)\necho\n",
	"x=$'it\\'s\nMODPIPE\n'\necho \"$x\"\n",
	"if true; then\n  cat /dev/null\nfi &> log\ncat log\n",
	"set -o posix\nset | grep ^X || true\n",
	"set -o\nset -o xtrace\necho\n",
	"echo $-\necho $BASHOPTS $SHELLOPTS\n",
	"for ((i = 0; i < 3; i++)); do\n  cat /dev/null\n  echo $i\ndone\n",
	"select x in a b; do\n  echo $x\n  break\ndone <<< 1\necho\n",
	"time true 2>/dev/null\necho\n",
	"coproc cat\necho ok\nkill $COPROC_PID\nwait || true\n",
}

// changing are numbers that two runs of one script do not share.
var changing = regexp.MustCompile(`\d+ (Killed|Terminated)|(real|user|sys)\s+\S+`)

func TestMarkedScriptRunsAsBefore(t *testing.T) {
	for shell := range shells {
		scripts := succeeding
		for _, tc := range failing {
			if shell == "bash" || !tc.bash {
				scripts = append(slices.Clip(scripts), tc.text)
			}
		}
		if shell == "bash" {
			scripts = append(scripts, onlyBash...)
		}
		for _, text := range scripts {
			t.Run(shell, func(t *testing.T) {
				s, ok := Mark(text, shell, filepath.Join(t.TempDir(), "line"))
				if !ok {
					return
				}
				was, is := play(t, shell, text), play(t, shell, s.Text)
				// A shell that reports the end of a command quotes the command.
				is.output = strings.ReplaceAll(is.output, "trap - EXIT; ", "")
				was.output, is.output = changing.ReplaceAllString(was.output, ""), changing.ReplaceAllString(is.output, "")
				if was != is {
					t.Errorf("without marks: %+v\nwith marks: %+v\nof\n%s", was, is, s.Text)
				}
			})
		}
	}
}
