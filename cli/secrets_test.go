package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/cli"
	"github.com/modpipe/modpipe/report"
)

const publishing = `
name: publishing
modules:
  publish:
    secrets: [TOKEN, {CERT: {name: cert, file: true}}, {DB: {name: db, from: worker}}]
    run: 'test "$TOKEN" = "of the variable" && test "$(cat "$CERT")" = "of the file" && test "$DB" = "of the directory" && echo ran >>ran'
`

// TestRunHasTheSecretsOfItsFlags: from the environment, a file and a directory; the
// worker inside this process has them, too.
func TestRunHasTheSecretsOfItsFlags(t *testing.T) {
	p := newProgram(t, cli.Orchestrator)
	p.write(t, "x.yaml", publishing)
	p.write(t, "the cert", "of the file\n")
	p.write(t, "dir/db", "of the directory\n")
	p.env = append(p.env, "TOKEN=of the variable")
	code, stdout, stderr := p.exec(t, "run", "x.yaml", "--secret", "TOKEN", "--secret", "cert=@the cert", "--secrets-dir", "dir", "-o", "json")
	if ran, err := os.ReadFile(filepath.Join(p.dir, "ran")); code != 0 || string(ran) != "ran\n" {
		t.Fatalf("exit code %d, %q, %v\n%s", code, ran, err, stderr)
	}
	var rep report.Report
	if err := json.Unmarshal([]byte(stdout), &rep); err != nil {
		t.Fatal(err)
	}
	if got := rep.Modules[0].Attempts[0].Secrets; !slices.Equal(got, []string{"TOKEN", "cert", "db"}) {
		t.Errorf("the attempt has %q", got)
	}
}

// TestARunWithoutItsSecretsIsRefused: before anything of it is stored.
func TestARunWithoutItsSecretsIsRefused(t *testing.T) {
	p := newProgram(t, cli.Orchestrator)
	p.write(t, "x.yaml", publishing)
	p.write(t, "dir/db", "of the directory\n")
	p.write(t, "dir/cert", "of the file\n")
	p.write(t, "rules.yaml", "db: {pipelines: other}\n")
	p.write(t, "bad.yaml", "db: {pipeline: other}\n")
	p.env = append(p.env, "TOKEN=of the variable", "SHORT=1234")
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"none":              {nil, []string{"publish: secret TOKEN: this orchestrator does not have it: give it by --secret or --secrets-dir", "publish: secret cert: "}},
		"one is missing":    {[]string{"--secrets-dir", "dir"}, []string{"publish: secret TOKEN"}},
		"denied":            {[]string{"--secret", "TOKEN", "--secrets-dir", "dir", "--secret-rules", "rules.yaml"}, []string{"publish: secret db: the rules"}},
		"rules with faults": {[]string{"--secret-rules", "bad.yaml"}, []string{"--secret-rules: ", "bad.yaml:1:1: db: unknown key"}},
		"a value":           {[]string{"--secret", "TOKEN=hunter2"}, []string{"--secret: TOKEN: a value on the command line"}},
		"no variable":       {[]string{"--secret", "ABSENT"}, []string{"--secret: ABSENT: the environment has no variable"}},
		"handed over":       {[]string{"--detach", "--secret", "TOKEN"}, []string{"--secret is for a run that is carried out here"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := p.exec(t, append([]string{"run", "x.yaml"}, c.args...)...)
			if code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			for _, want := range c.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("%q is not in\n%s", want, stderr)
				}
			}
			if strings.Contains(stderr, "hunter2") {
				t.Errorf("a value is in\n%s", stderr)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(p.dir, "ran")); err == nil {
		t.Error("the module ran")
	}
	if _, stdout, _ := p.exec(t, "runs", "list", "-o", "name"); stdout != "" {
		t.Errorf("runs were stored: %q", stdout)
	}
}

func TestAWorkerOffersItsSecretsByName(t *testing.T) {
	p := newProgram(t, cli.Worker)
	p.write(t, "dir/db", "of the directory\n")
	p.env = append(p.env, "TOKEN=of the variable")
	code, stdout, stderr := p.exec(t, "capabilities", "--secret", "TOKEN", "--secrets-dir", "dir", "-o", "json")
	if code != 0 || !strings.Contains(stdout, `"TOKEN"`) || !strings.Contains(stdout, `"db"`) || strings.Contains(stdout, "variable") || strings.Contains(stdout, "of the directory") {
		t.Errorf("exit code %d, %s\n%s", code, stdout, stderr)
	}
}
