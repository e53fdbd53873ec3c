package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// Disk space that an embedded server needs.
const (
	leastDisk = 100 << 20
	goodDisk  = 2 << 30
)

// examineStore checks the directory of an embedded server's data.
func (d *doctor) examineStore() {
	if d.Remote {
		return
	}
	if err := store.OurTemporary(d.Store); err != nil {
		d.fault("store", "set HOME or XDG_STATE_HOME, or name another directory with --store", "%v", err)
		return
	}
	size, there := sizeOf(d.Store)
	at := d.Store
	for !isDir(at) && filepath.Dir(at) != at {
		at = filepath.Dir(at)
	}
	text := d.Store
	switch {
	case there:
		text += fmt.Sprintf(", holds %s", phrase.Bytes(size))
	default:
		text += ", made by the first run"
	}
	if h, ok := store.ReadHolder(d.Store); ok {
		text += fmt.Sprintf(", held by process %d", h.PID)
	}
	if err := tryWrite(at); err != nil {
		d.fault("store", "--store, or XDG_STATE_HOME, names another directory", "%s cannot be written to: %v", at, err)
		return
	}
	free, known := diskFree(at)
	if known {
		text += fmt.Sprintf(", %s free", phrase.Bytes(free))
	}
	switch {
	case known && free < leastDisk:
		d.fault("store", "make room, or name another directory with --store", "%s", text)
	case known && free < goodDisk:
		d.warn("store", "make room: the embedded server takes at most three quarters of what is free for jobs, logs and artifacts", "%s", text)
	default:
		d.ok("store", "%s", text)
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// tryWrite creates a file in a directory and removes it.
func tryWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".modpipe-doctor-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// sizeOf returns the total size of the files in a directory.
func sizeOf(dir string) (size int64, there bool) {
	if !isDir(dir) {
		return 0, false
	}
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil //nolint:nilerr // unreadable files are not counted
		}
		if info, err := e.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	return size, true
}

// examineWorkers reports that a run without a server brings its own worker.
func (d *doctor) examineWorkers() {
	if !d.Remote {
		d.ok("workers", "a run brings its own, with %s (--max-parallel)", phrase.Count(machine.CPUs(), "slot"))
	}
}

// examineShell checks the programs with which commands run.
func (d *doctor) examineShell() {
	where := "modules run on workers, whose machines count"
	var found, missing []string
	for _, tool := range []string{"sh", "bash", "git"} {
		if path, err := exec.LookPath(tool); err == nil {
			found = append(found, path)
		} else {
			missing = append(missing, tool)
		}
	}
	text := strings.Join(found, ", ")
	if len(missing) > 0 {
		text = phrase.Join("; ", text, "not on PATH: "+strings.Join(missing, ", "))
	}
	if d.Remote {
		text += " (" + where + ")"
	}
	switch {
	case slices.Contains(missing, "sh") && runtime.GOOS != "windows" && !d.Remote:
		d.fault("shell", "install sh, or put it on PATH: it runs the commands of modules", "%s", text)
	case slices.Contains(missing, "git"):
		d.warn("shell", "install git: it says what of the workspace travels to other machines, and which commit a run is of", "%s", text)
	case len(missing) > 0 && !d.Remote:
		d.warn("shell", "install what modules shall use: `shell: bash` needs bash", "%s", text)
	default:
		d.ok("shell", "%s", text)
	}
}

// offer is what one worker offers.
type offer struct {
	name string
	has  jobs.Capabilities
}

// examineTools compares the requirements of the file's modules with the offers.
func (d *doctor) examineTools(ctx context.Context) {
	if d.Pipeline == nil || d.Remote && !d.counted {
		return
	}
	offers := d.offers(ctx)
	var lacks []string
	lanes := map[jobs.Lane]bool{}
	for _, m := range d.Pipeline.Modules {
		lane := jobs.LaneOf(m.Requires, m.Slots)
		if lanes[lane] {
			continue
		}
		lanes[lane] = true
		if text := unmet(m, offers); text != "" {
			lacks = append(lacks, text)
		}
	}
	who := "this machine"
	if d.Remote {
		who = "the workers"
	}
	const advice = "install what is missing, put it on PATH, or start a worker that offers it (`worker capabilities` shows what one offers)"
	switch {
	case len(lacks) == 0:
		d.ok("requirements", "%s of %s wait on %s: %s can serve all of them", phrase.Count(len(d.Pipeline.Modules), "module"), d.File, phrase.Count(len(lanes), "lane"), who)
	case d.Remote:
		d.warn("requirements", advice, "%s", phrase.Few(lacks, 6))
	default:
		d.fault("requirements", advice, "%s", phrase.Few(lacks, 6))
	}
}

// unmet returns the requirements of a module that no worker offers; "" = all are
// offered.
func unmet(m *pipeline.Module, offers []offer) string {
	var closest []string
	name := ""
	for i, o := range offers {
		missing := missingOf(o.has, m.Requires)
		if len(missing) == 0 {
			return ""
		}
		if i == 0 || len(missing) < len(closest) {
			closest, name = missing, o.name
		}
	}
	if len(offers) == 0 {
		return "module " + m.Name + ": there is no worker"
	}
	return fmt.Sprintf("module %s: %s lacks %s", m.Name, name, strings.Join(closest, ", "))
}

// missingOf returns what a worker lacks. The version of a tool is unknown until a module
// requires one. Until then, the presence of the tool counts.
func missingOf(has jobs.Capabilities, r pipeline.Requirements) []string {
	r.Tools = slices.Clone(r.Tools)
	for i, t := range r.Tools {
		if v, ok := has.Tools[t.Name]; ok && v == "" {
			r.Tools[i].Min = ""
		}
	}
	return has.Missing(r)
}

// offers returns the offers of the live workers, or of this machine when a run brings its
// own worker.
func (d *doctor) offers(ctx context.Context) []offer {
	if d.Remote {
		offers := make([]offer, 0, len(d.workers))
		for i := range d.workers {
			offers = append(offers, offer{"worker " + d.workers[i].Name, d.workers[i].Capabilities})
		}
		return offers
	}
	has, err := d.Detect(ctx)
	if err != nil {
		return nil
	}
	has.Tools = maps.Clone(has.Tools)
	for _, m := range d.Pipeline.Modules {
		if m.Requires.Program != nil {
			has.Program = m.Requires.Program // it is this program
		}
		for _, t := range m.Requires.Tools {
			if v, ok := has.Tools[t.Name]; ok && v == "" && t.Min != "" {
				has.Tools[t.Name] = toolVersion(ctx, t.Name)
			}
		}
	}
	return []offer{{"this machine", has}}
}

var dottedNumber = regexp.MustCompile(`[0-9]+(\.[0-9]+)+`)

// toolVersion runs a tool to get its version, as a worker does.
func toolVersion(ctx context.Context, name string) string {
	for _, word := range []string{"--version", "version"} {
		asking, stop := context.WithTimeout(ctx, 3*time.Second)
		cmd := exec.CommandContext(asking, name, word)
		cmd.WaitDelay = 100 * time.Millisecond
		text, _ := cmd.CombinedOutput() // its output counts, not its exit code
		stop()
		if v := dottedNumber.Find(text); v != nil {
			return string(v)
		}
	}
	return ""
}

// examineDirectories reports the directories of this user's settings and data.
func (d *doctor) examineDirectories() {
	env := d.Env
	var parts, relative []string
	for _, name := range []string{"XDG_CONFIG_HOME", "XDG_STATE_HOME"} {
		if v := env[name]; v != "" && !filepath.IsAbs(v) {
			relative = append(relative, name+"="+v)
		}
	}
	if dir := env.ConfigDir(); dir != "" {
		file := filepath.Join(dir, "modpipe", d.Program+".yaml")
		if _, err := os.Stat(file); err == nil {
			parts = append(parts, "settings from "+file)
		} else {
			parts = append(parts, "no settings in "+file)
		}
	}
	parts = append(parts, "data in "+store.StateDir(env))
	text := strings.Join(parts, ", ")
	switch {
	case len(relative) > 0:
		d.warn("directories", "make it an absolute path: it means another directory wherever the program is started", "%s (%s)", text, strings.Join(relative, ", "))
	case env["XDG_STATE_HOME"] == "" && env["HOME"] == "" && !d.Remote:
		d.warn("directories", "set HOME or XDG_STATE_HOME: history and cache are in a temporary directory", "%s", text)
	default:
		d.ok("directories", "%s", text)
	}
}
