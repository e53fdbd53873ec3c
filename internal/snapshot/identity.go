package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

// Identity returns which repository dir belongs to: the URL of the remote
// origin as "host/path", without credentials and equal for ssh and https;
// without such a remote, "commit:" and the root commit; outside git or without
// a commit, "directory:" and a digest of the name of dir. The root commit of a
// shallow clone is not that of the repository, so such a clone without a remote
// has an identity of its own.
func Identity(ctx context.Context, dir string) (string, error) {
	dir, err := realDir(dir)
	if err != nil {
		return "", err
	}
	_, inGit, err := locate(ctx, dir)
	if errors.Is(err, errNoGit) {
		err = fmt.Errorf("%w: install git, or name the repository with --workspace-id", err)
	}
	if err != nil {
		return "", err
	}
	if !inGit {
		return named(dir), nil
	}
	// A remote named by `pushurl` or rewritten by `insteadOf` counts as written.
	origin, err := run(ctx, dir, "config", "--get", "remote.origin.url")
	var failed *gitError
	if err != nil && !errors.As(err, &failed) { // the setting does not exist
		return "", err
	}
	if id := normalise(origin); id != "" {
		return id, nil
	}
	roots, err := run(ctx, dir, "rev-list", "--max-parents=0", "HEAD")
	if err != nil && !errors.As(err, &failed) { // no commit yet
		return "", err
	}
	if roots != "" { // a merge of histories has several; the last is the oldest
		lines := strings.Fields(roots)
		return "commit:" + lines[len(lines)-1], nil
	}
	return named(dir), nil
}

func named(dir string) string {
	sum := sha256.Sum256([]byte(filepath.Base(dir)))
	return "directory:" + hex.EncodeToString(sum[:])
}

// normalise returns the identity of a remote: "github.com/acme/app" for
// git@github.com:acme/app.git and for https://user:secret@github.com/acme/app.
// The port of ssh is dropped, because https of the same server has another one.
// It returns "" for a path on this machine, which means nothing elsewhere.
func normalise(remote string) string {
	remote = strings.TrimSpace(remote)
	var host, rest string
	if strings.Contains(remote, "://") {
		u, err := url.Parse(remote)
		if err != nil || u.Scheme == "file" {
			return ""
		}
		host, rest = bracket(u.Hostname()), u.Path
		if u.Port() != "" && strings.HasPrefix(u.Scheme, "http") && u.Port() != defaultPort[u.Scheme] {
			host = u.Host
		}
	} else { // user@host:path
		before, after, ok := cutHost(remote)
		if !ok || strings.ContainsAny(before, `/\`) || len(before) == 1 { // a path; C:\x
			return ""
		}
		host, rest = before[strings.LastIndex(before, "@")+1:], after
	}
	rest = strings.TrimSuffix(strings.Trim(path.Clean("/"+rest), "/"), ".git")
	if host == "" || rest == "" {
		return ""
	}
	return strings.ToLower(host) + "/" + rest
}

func bracket(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// cutHost cuts at the first colon that is not inside brackets.
func cutHost(remote string) (host, rest string, ok bool) {
	start := max(0, strings.Index(remote, "]"))
	i := strings.Index(remote[start:], ":")
	if i < 0 {
		return "", "", false
	}
	return remote[:start+i], remote[start+i+1:], true
}

var defaultPort = map[string]string{"https": "443", "http": "80"}
