package cli

import (
	"context"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/phrase"
)

// versionShown is the program's version as -o json has it.
type versionShown struct {
	Program string `json:"program"`
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Time    string `json:"time"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// version is the module's version, as the go command stamps it.
func version() string { return buildVersion("").Version }

func buildVersion(binary string) versionShown {
	v := versionShown{Program: binary, Version: "devel", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.time":
			v.Time = s.Value
		}
	}
	return v
}

func versionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version",
		RunE: a.do(between(0, 0, "version"), func(context.Context, []string) error {
			v := buildVersion(a.binary)
			return a.emit(v, func(w io.Writer) {
				console.Writef(w, "%s %s\ncommit %s\n%s %s/%s\n", v.Program, v.Version, phrase.OrDash(v.Commit), v.Go, v.OS, v.Arch)
			}, func(w io.Writer) { console.Writeln(w, v.Version) })
		}),
	}
}
