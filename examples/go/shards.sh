#!/bin/sh
# Deals the packages that have tests into at most $1 shards, as a JSON list of
# lists of packages; the end-to-end tests, which run this, are not among them.
set -eu
packages=$(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... | grep -v '/e2e$' || true)
list=$(echo "$packages" | awk -v n="$1" '
  NF { shard[i++ % n] = shard[(i - 1) % n] " " $1 }
  END {
    for (s = 0; s < n && s < i; s++) printf "%s\"%s\"", (s ? "," : ""), substr(shard[s], 2)
  }')
echo "list=[$list]" >>"$MODPIPE_OUTPUT"
echo "$packages"
