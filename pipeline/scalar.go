package pipeline

import (
	"errors"
	"fmt"
	"math"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Patterns, for the decoder and the schema.
const (
	namePattern     = `^[A-Za-z_][A-Za-z0-9_-]{0,62}$`
	titlePattern    = `^[^\x00-\x1f\x7f]{1,200}$`
	envPattern      = `^[A-Za-z_][A-Za-z0-9_]*$`
	passEnvPattern  = `^[A-Za-z_*][A-Za-z0-9_*]*$`
	durationPattern = `^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d))+)$`
	memoryPattern   = `^[0-9]+(\.[0-9]+)?([KMGTkmgt]i?[Bb]?|B)$`
	toolPattern     = `^[A-Za-z0-9_][A-Za-z0-9_.+-]*( *>= *[0-9]+(\.[0-9]+)*)?$`
	wordPattern     = `^[A-Za-z0-9_][A-Za-z0-9_.+/-]*$`
)

var (
	nameRegexp     = regexp.MustCompile(namePattern)
	titleRegexp    = regexp.MustCompile(titlePattern)
	envRegexp      = regexp.MustCompile(envPattern)
	passEnvRegexp  = regexp.MustCompile(passEnvPattern)
	durationRegexp = regexp.MustCompile(durationPattern)
	memoryRegexp   = regexp.MustCompile(memoryPattern)
	toolRegexp     = regexp.MustCompile(toolPattern)
	wordRegexp     = regexp.MustCompile(wordPattern)
	numberRegexp   = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)
	daysRegexp     = regexp.MustCompile(`([0-9]+(?:\.[0-9]+)?)d`)
)

func validName(s string) error {
	if !nameRegexp.MatchString(s) {
		return fmt.Errorf("%q is not a name: letters, digits, _ and -, at most 63, a letter or _ first", s)
	}
	return nil
}

func validTitle(s string) error {
	if !titleRegexp.MatchString(s) {
		return errors.New("a name has 1 to 200 characters, in one line")
	}
	return nil
}

func validEnv(s string) error {
	if !envRegexp.MatchString(s) {
		return fmt.Errorf("%q is not the name of an environment variable", s)
	}
	return notOurs(s)
}

func validPassEnv(s string) error {
	if !passEnvRegexp.MatchString(s) {
		return fmt.Errorf("%q is neither the name of an environment variable nor a pattern such as AWS_*", s)
	}
	return notOurs(s)
}

func notOurs(s string) error {
	if strings.HasPrefix(strings.ToUpper(s), "MODPIPE_") {
		return fmt.Errorf("%s is modpipe's own: MODPIPE_* cannot be set", s)
	}
	return nil
}

func validWord(s string) error {
	if !wordRegexp.MatchString(s) {
		return fmt.Errorf("%q is not a word of letters, digits and _ . + / -", s)
	}
	return nil
}

// goWords are other people's words for what Go calls otherwise.
var goWords = map[string]string{
	"macos": "darwin", "osx": "darwin", "mac": "darwin", "win": "windows", "ubuntu": "linux",
	"x86_64": "amd64", "x64": "amd64", "aarch64": "arm64", "x86": "386", "i386": "386",
}

// validPlatform checks an os or arch: Go's words.
func validPlatform(s string) error {
	if w := goWords[strings.ToLower(s)]; w != "" {
		return fmt.Errorf("%q is called %s here, as in Go", s, w)
	}
	return validWord(s)
}

func validDuration(s string) error { _, err := parseDuration(s); return err }

// parseDuration reads a duration as Go writes it, with days.
func parseDuration(s string) (time.Duration, error) {
	if !durationRegexp.MatchString(s) {
		if numberRegexp.MatchString(s) {
			return 0, fmt.Errorf("duration %q has no unit: write %ss, %sm or %sh", s, s, s, s)
		}
		return 0, fmt.Errorf("%q is not a duration such as 90s, 1h30m or 1d", s)
	}
	var total time.Duration
	rest := daysRegexp.ReplaceAllStringFunc(s, func(days string) string {
		f, _ := strconv.ParseFloat(strings.TrimSuffix(days, "d"), 64)
		if ns := f * float64(24*time.Hour); ns < math.MaxInt64/4 && total < math.MaxInt64/4 {
			total += time.Duration(ns)
		} else {
			total = math.MaxInt64 / 2
		}
		return ""
	})
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d > math.MaxInt64/2 {
			return 0, fmt.Errorf("duration %q is too long", s)
		}
		total += d
	}
	if total >= math.MaxInt64/2 {
		return 0, fmt.Errorf("duration %q is too long", s)
	}
	return total, nil
}

func validMemory(s string) error { _, err := parseMemory(s); return err }

// parseMemory reads an amount of memory in bytes: 512Mi, 8G.
func parseMemory(s string) (int64, error) {
	if !memoryRegexp.MatchString(s) {
		return 0, fmt.Errorf("%q is not an amount of memory such as 512Mi, 16Gi or 8G", s)
	}
	unit := strings.TrimLeft(s, "0123456789.")
	f, err := strconv.ParseFloat(strings.TrimSuffix(s, unit), 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not an amount of memory", s)
	}
	base := 1000.0
	u := strings.TrimSuffix(strings.ToLower(unit), "b")
	if strings.HasSuffix(u, "i") {
		base = 1024
	}
	power := 0
	if u != "" {
		power = 1 + strings.IndexByte("kmgt", u[0])
	}
	bytes := f * math.Pow(base, float64(power))
	if bytes > 1<<60 {
		return 0, fmt.Errorf("%s is more memory than there is", s)
	}
	return int64(bytes), nil
}

func validTool(s string) error { _, err := parseTool(s); return err }

// parseTool reads name or name>=1.2.
func parseTool(s string) (Tool, error) {
	if !toolRegexp.MatchString(s) {
		return Tool{}, fmt.Errorf("%q is not a tool: write name or name>=1.2", s)
	}
	name, minimum, _ := strings.Cut(strings.ToLower(s), ">=")
	return Tool{Name: strings.TrimSpace(name), Min: strings.TrimSpace(minimum)}, nil
}

// newerVersion says whether dotted number a is above b; the empty one is below all.
func newerVersion(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		var x, y string
		if i < len(as) {
			x = strings.TrimLeft(as[i], "0")
		}
		if i < len(bs) {
			y = strings.TrimLeft(bs[i], "0")
		}
		if len(x) != len(y) {
			return len(x) > len(y)
		}
		if x != y {
			return x > y
		}
	}
	return a != "" && b == ""
}

func validDir(s string) error { _, err := parseDir(s); return err }

// parseDir reads a directory below the workspace.
func parseDir(s string) (string, error) {
	clean := path.Clean(strings.ReplaceAll(s, `\`, "/"))
	switch {
	case strings.ContainsRune(s, 0):
		return "", errors.New("a path has no NUL in it")
	case path.IsAbs(clean) || len(clean) > 1 && clean[1] == ':':
		return "", fmt.Errorf("%q is absolute: dir is below the workspace", s)
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return "", fmt.Errorf("%q leaves the workspace", s)
	}
	return clean, nil
}
