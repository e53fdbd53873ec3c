package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// filesRow is a line of the table of files, and an entry of files.json. Memory is what a
// process used above the moment before its work, in MB.
type filesRow struct {
	Work      string  `json:"work"`
	Send      spent   `json:"send"` // or the work itself, where nothing comes back
	Back      spent   `json:"back"`
	Floor     string  `json:"floor"`
	FloorSend spent   `json:"floor_send"`
	FloorBack spent   `json:"floor_back"`
	Ratio     float64 `json:"ratio"`     // measured time to the floor's
	CPURatio  float64 `json:"cpu_ratio"` // the same of CPU time, which other work on the machine changes less
	Target    string  `json:"target"`
	SentMB    float64 `json:"sent_mb"`
	SenderMB  float64 `json:"sender_mb"`
	ReaderMB  float64 `json:"reader_mb"`
	ServerMB  float64 `json:"server_mb"`
}

// compare sets the ratios. once: the way back does not count.
func (r *filesRow) compare(once bool) {
	work, floor := r.Send, r.FloorSend
	if !once {
		work, floor = work.and(r.Back), floor.and(r.FloorBack)
	}
	r.Ratio, r.CPURatio = work.Seconds/floor.Seconds, work.CPU/floor.CPU
}

// layoutRow is a layout of 4 KB files in NATS, beside the others.
type layoutRow struct {
	Layout   string  `json:"layout"`
	Files    int     `json:"files"`
	Send     float64 `json:"send_s"`
	Fetch    float64 `json:"fetch_s"`
	Subjects int     `json:"subjects"`
	StoredMB float64 `json:"stored_mb"`
	ServerMB float64 `json:"server_mb"` // more than before, after both
}

type filesFigures struct {
	Rows    []filesRow  `json:"rows"`
	Layouts []layoutRow `json:"layouts"`
}

// filesBench measures how trees of files travel, beside floors in the same run:
// `files [-scale N] [-only LETTERS] [-out F]`. Every side is a process of its own. The
// works are: A one file of 1 GB; B 100,000 files of 4 KB; C a workspace of 10,000 files
// and 200 MB, the same with one changed file, and a directory of it; G cache directories;
// H modules with cached results; L the three layouts of 4 KB files.
func filesBench(args []string) error {
	set := flag.NewFlagSet("files", flag.ContinueOnError)
	scale := set.Int("scale", 1, "divides the sizes")
	only := set.String("only", "ABCGHL", "works, as letters")
	out := set.String("out", "test/bench/files.json", "where the figures go")
	if err := set.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // of the temporary directory
	var f filesFigures
	err = f.measure(dir, *only, *scale)
	f.print()
	if err != nil {
		return err
	}
	if f, err = f.withOthers(*out); err != nil {
		return err
	}
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(*out, append(text, '\n'), 0o644) //nolint:gosec // figures, for anyone
}

// withOthers adds the figures that a file has for what was not measured.
func (f *filesFigures) withOthers(file string) (all filesFigures, err error) {
	text, err := os.ReadFile(file) //nolint:gosec // named by the user
	if errors.Is(err, fs.ErrNotExist) {
		return *f, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return all, fmt.Errorf("read %s: %w", file, err)
	}
	for _, r := range f.Rows {
		same := func(o filesRow) bool { return o.Work == r.Work }
		if i := slices.IndexFunc(all.Rows, same); i >= 0 {
			all.Rows[i] = r
		} else {
			all.Rows = append(all.Rows, r)
		}
	}
	if len(f.Layouts) > 0 {
		all.Layouts = f.Layouts
	}
	return all, nil
}

func (f *filesFigures) measure(dir, only string, scale int) error {
	works := map[string]func(string, int) error{"A": f.oneLarge, "B": f.manySmall, "C": f.workspace, "G": f.cacheDirectories, "H": f.hits}
	for _, name := range slices.Sorted(maps.Keys(works)) {
		if !strings.Contains(only, name) {
			continue
		}
		sub := filepath.Join(dir, name)
		if err := errors.Join(os.Mkdir(sub, 0o700), works[name](sub, scale)); err != nil {
			return fmt.Errorf("work %s: %w", name, err)
		}
	}
	if !strings.Contains(only, "L") {
		return nil
	}
	for _, n := range []int{10_000 / scale, 100_000 / scale} {
		for _, layout := range []string{"objects", "subjects", "packs"} {
			var row layoutRow
			if err := self(&row, "files-layout", layout, strconv.Itoa(n)); err != nil {
				return fmt.Errorf("layout %s: %w", layout, err)
			}
			f.Layouts = append(f.Layouts, row)
		}
	}
	return nil
}

// self runs a role of this program in a process of its own, and reads its figures.
func self(figures any, args ...string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(context.Background(), program, args...)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return json.Unmarshal(text, figures)
}

// oneLarge is work A. The floor publishes and reads the same bytes in messages of 1 MB.
func (f *filesFigures) oneLarge(dir string, scale int) error {
	for _, noisy := range []bool{false, true} {
		sub, work := filepath.Join(dir, strconv.FormatBool(noisy)), "1 GB in one file"
		if noisy {
			work += " that does not compress"
		}
		row := filesRow{Work: work, Floor: "publish and read in 1 MB messages", Target: "≤ 1.67"}
		if err := errors.Join(row.oneLarge(sub, (1<<30)/scale, noisy), os.RemoveAll(sub)); err != nil {
			return err
		}
		f.Rows = append(f.Rows, row)
	}
	return nil
}

func (r *filesRow) oneLarge(dir string, bytes int, noisy bool) error {
	if err := makeFiles(filepath.Join(dir, "tree"), 1, bytes, noisy); err != nil {
		return err
	}
	var raw rawFigures
	if err := self(&raw, "files-raw", filepath.Join(dir, "tree", "0"), dir); err != nil {
		return err
	}
	r.FloorSend, r.FloorBack = raw.Send, raw.Back
	_, err := r.travel(dir, true) // its digest is known: the floor computes none
	r.compare(false)
	return err
}

// packed measures tar | zstd to a file and back.
func (r *filesRow) packed(dir string) (err error) {
	r.Floor = "tar | zstd, and back"
	if r.FloorSend, err = timed(`tar -C "$1/tree" -cf - . | zstd -q -1 -o "$1/floor.zst"`, dir); err != nil {
		return err
	}
	r.FloorBack, err = timed(`mkdir "$1/back"; zstd -q -dc "$1/floor.zst" | tar -C "$1/back" -xf -`, dir)
	return errors.Join(err, os.Remove(filepath.Join(dir, "floor.zst")))
}

// manySmall is work B.
func (f *filesFigures) manySmall(dir string, scale int) error {
	if err := makeFiles(filepath.Join(dir, "tree"), 100_000/scale, 4<<10, false); err != nil {
		return err
	}
	row := filesRow{Work: "100,000 files of 4 KB", Target: "≤ 3"}
	if err := row.packed(dir); err != nil {
		return err
	}
	if _, err := row.travel(dir, false); err != nil {
		return err
	}
	row.compare(false)
	f.Rows = append(f.Rows, row)
	return nil
}

// workspace is works C and D.
func (f *filesFigures) workspace(dir string, scale int) error {
	root := filepath.Join(dir, "tree")
	if err := makeFiles(root, 10_000/scale, 20<<10, false); err != nil {
		return err
	}
	first := filesRow{Work: "10,000 files, 200 MB, first send", Target: "≤ 3"}
	if err := first.packed(dir); err != nil {
		return err
	}
	ref, err := first.travel(dir, false)
	if err != nil {
		return err
	}
	first.compare(true)
	f.Rows = append(f.Rows, first)
	if err := f.newDirectory(dir, ref); err != nil {
		return err
	}
	changed := filesRow{Work: "the same, one file changed", Floor: "git status", Target: "≤ 3, < 1 MB sent"}
	if _, err := timed(`cd "$1"; git init -q .; git add .; git -c user.name=b -c user.email=b commit -qm b; git status >"$1/../status"; git status >"$1/../status"`, root); err != nil {
		return err
	}
	if err = os.WriteFile(filepath.Join(root, "7"), []byte("changed"), 0o600); err != nil {
		return err
	}
	if changed.FloorSend, err = timed(`cd "$1"; git status >"$1/../status"`, root); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(root, ".git"), filepath.Join(dir, "git")); err != nil {
		return err
	}
	if _, err := changed.travel(dir, true); err != nil {
		return err
	}
	changed.compare(true)
	f.Rows = append(f.Rows, changed)
	return nil
}

func (f *filesFigures) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "work\ts (CPU)\tback s (CPU)\tfloor\ts (CPU)\tback s (CPU)\tratio\tof CPU\ttarget\tsent MB\tsender MB\treader MB\tserver MB")
	for _, r := range f.Rows {
		_, _ = fmt.Fprintf(w, "%s\t%v\t%v\t%s\t%v\t%v\t%.2f\t%.2f\t%s\t%.2f\t%.0f\t%.0f\t%.0f\n",
			r.Work, r.Send, r.Back, r.Floor, r.FloorSend, r.FloorBack, r.Ratio, r.CPURatio, r.Target, r.SentMB, r.SenderMB, r.ReaderMB, r.ServerMB)
	}
	_, _ = fmt.Fprintln(w, "layout\tfiles\tsend s\tfetch s\tsubjects\tstored MB\tserver MB")
	for _, r := range f.Layouts {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%.2f\t%.2f\t%d\t%.1f\t%.1f\n", r.Layout, r.Files, r.Send, r.Fetch, r.Subjects, r.StoredMB, r.ServerMB)
	}
	_ = w.Flush() // a table that is not printed is missed
}
