package e2e

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// service is a service of docker-compose.yml, with the settings that have a meaning
// without Docker.
type service struct {
	Image       string
	Entrypoint  []string
	Command     []string
	Environment map[string]string
	WorkingDir  string `yaml:"working_dir"`
	Ports       []string
	Volumes     []string
	StopGrace   string `yaml:"stop_grace_period"`
}

// composeFile reads docker-compose.yml, with these variables in the
// environment of compose.
func composeFile(t *testing.T, vars map[string]string) map[string]service {
	t.Helper()
	variable := regexp.MustCompile(`\$\{(\w+):-([^}]*)\}`)
	text := variable.ReplaceAllStringFunc(projectFile(t, "docker-compose.yml"), func(found string) string {
		m := variable.FindStringSubmatch(found)
		if value := vars[m[1]]; value != "" {
			return value
		}
		return m[2]
	})
	var file struct{ Services map[string]service }
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	return file.Services
}

func projectFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// composed are the services as processes of this machine: with the words and
// variables of the file, but for directories, and the server's address.
type composed struct {
	*place
	services map[string]service
	addr     string
}

// compose starts nothing yet. What containers see of the project is the
// project.
func compose(t *testing.T, vars map[string]string) *composed {
	t.Helper()
	p := newPlace(t, workers)
	p.workspace = root
	return &composed{p, composeFile(t, vars), freeAddress(t)}
}

// here is a word of the file as it has to be without containers: a directory
// is the one that is mounted there.
func (c *composed) here(s service, word string) string {
	for _, v := range s.Volumes {
		switch from, to, _ := strings.Cut(v, ":"); {
		case word != to:
		case from == ".":
			return root
		default:
			return filepath.Join(c.home, from)
		}
	}
	return strings.ReplaceAll(word, "nats:4222", c.addr)
}

// start starts a service, with another command if there is one.
func (c *composed) start(t *testing.T, name string, command ...string) *program {
	t.Helper()
	s := c.services[name]
	if len(command) == 0 {
		command = s.Command
	}
	words := slices.Concat(s.Entrypoint, command)
	if name == "nats" {
		_, port, _ := strings.Cut(c.addr, ":")
		words = slices.Concat([]string{"nats-server"}, words, []string{"--addr", "127.0.0.1", "--port", port})
	}
	if len(words) == 0 {
		t.Fatalf("docker-compose.yml does not say what %s is", name)
	}
	for i, word := range words {
		words[i] = c.here(s, word)
	}
	var env []string
	for key, value := range s.Environment {
		env = append(env, key+"="+c.here(s, value))
	}
	dir := cmp.Or(c.here(s, s.WorkingDir), c.home)
	return start(t, dir, c.env(env...), filepath.Join(binaries.dir, words[0]), words[1:]...)
}

// composeRuns are the commands that the docs and the file itself run with `docker compose
// run --rm orchestrator`.
func composeRuns(t *testing.T) [][]string {
	t.Helper()
	text := projectFile(t, "docs/getting-started.md") + projectFile(t, "docker-compose.yml")
	var all [][]string
	for _, m := range regexp.MustCompile(`docker compose run --rm orchestrator ([^\n#]+)`).FindAllStringSubmatch(text, -1) {
		all = append(all, strings.Fields(m[1]))
	}
	if len(all) == 0 {
		t.Fatal("nothing says how to run a pipeline in the composition")
	}
	return all
}

// TestCompose starts the services of docker-compose.yml and runs the commands of the pages
// on them. The serving orchestrator executes submitted runs. Like compose, it does not
// wait until NATS is ready. All services end in order after a signal.
func TestCompose(t *testing.T) {
	t.Run("open", func(t *testing.T) { compose(t, nil).carriesOut(t) })
	t.Run("token", func(t *testing.T) {
		c := compose(t, map[string]string{"NATS_TOKEN": "hidden"})
		c.carriesOut(t)
		delete(c.services["orchestrator"].Environment, "NATS_TOKEN")
		c.orchestrates(t, 3, "workers", "list")
	})
}

func (c *composed) carriesOut(t *testing.T) {
	t.Helper()
	c.start(t, "nats")
	serve, one, other := c.start(t, "orchestrator"), c.start(t, "worker"), c.start(t, "worker")
	if name := nameOf(t, one); name == nameOf(t, other) {
		t.Errorf("two workers are named %s", name)
	}
	for _, command := range composeRuns(t) {
		c.orchestrates(t, 0, command...)
	}
	serve.awaitText(t, "serving runs")
	c.orchestrates(t, 0, "run", "--detach", "--run-id", "handed-over", "examples/hello.yaml")
	c.orchestrates(t, 0, "runs", "wait", "handed-over")
	serve.awaitText(t, "run ended")
	for _, p := range []*program{serve, one, other} {
		p.signal(t, syscall.SIGTERM)
		if code := p.wait(t); code != 0 {
			t.Errorf("%s: exit %d when told to go", p.name, code)
		}
	}
}

// orchestrates runs `docker compose run --rm orchestrator` and checks its exit code.
func (c *composed) orchestrates(t *testing.T, exit int, command ...string) {
	t.Helper()
	if code := c.start(t, "orchestrator", command...).wait(t); code != exit {
		t.Errorf("%q: exit %d, want %d", command, code, exit)
	}
}

// nameOf is the name that a worker has given itself.
func nameOf(t *testing.T, worker *program) string {
	t.Helper()
	worker.awaitText(t, "connected")
	m := regexp.MustCompile(`worker=(\S+)`).FindStringSubmatch(worker.stderrText())
	if m == nil {
		t.Fatalf("a worker without a name: %s", worker.stderrText())
	}
	return m[1]
}

// TestComposeIsSafe: nothing is published beyond the loopback, and workers are
// not killed while they drain.
func TestComposeIsSafe(t *testing.T) {
	services := composeFile(t, nil)
	for name, s := range services {
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s is published at %s", name, port)
			}
		}
	}
	worker := services["worker"]
	grace, err := time.ParseDuration(worker.StopGrace)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.Index(worker.Command, "--drain-timeout")
	if i < 0 {
		t.Fatalf("the worker's command has no --drain-timeout: %q", worker.Command)
	}
	drain, err := time.ParseDuration(worker.Command[i+1])
	if err != nil {
		t.Fatal(err)
	}
	const moduleGrace, last = 10 * time.Second, 5 * time.Second // of a module that says none, and for what is written then
	if least := drain + moduleGrace + last; grace < least {
		t.Errorf("a worker is killed %v after it was told to go; it may need %v", grace, least)
	}
}

// TestImages: the versions in the Dockerfile and in docker-compose.yml are
// those of go.mod, and the image contains the programs that the services start.
func TestImages(t *testing.T) {
	gomod, services := projectFile(t, "go.mod"), composeFile(t, nil)
	version := func(pattern string) string {
		m := regexp.MustCompile(pattern).FindStringSubmatch(gomod)
		if m == nil {
			t.Fatalf("go.mod has no %s", pattern)
		}
		return m[1]
	}
	if got, want := services["nats"].Image, "nats:"+version(`nats-server/v2 v(\S+)`); got != want {
		t.Errorf("the server of the composition is %s, that of the tests %s", got, want)
	}
	from := fmt.Sprintf("FROM golang:%s-", version(`(?m)^go (\d+\.\d+)`))
	if !strings.Contains(projectFile(t, "Dockerfile"), from) {
		t.Errorf("the Dockerfile is not %s…", from)
	}
	for name, s := range services {
		if s.Image != "modpipe" {
			continue
		}
		if len(s.Entrypoint) != 1 {
			t.Errorf("%s starts %q", name, s.Entrypoint)
		} else if _, err := os.Stat(filepath.Join(root, "cmd", s.Entrypoint[0])); err != nil {
			t.Errorf("the image of %s lacks its program: %v", name, err)
		}
	}
}
