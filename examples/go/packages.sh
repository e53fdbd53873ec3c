#!/bin/sh
# packages.sh SHARD SHARDS PATTERN…: prints every SHARDS-th of the packages
# that have tests. The end-to-end tests, which run this, are not among them.
set -eu
shard=$1 shards=$2
shift 2
go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' "$@" |
  awk -v shard="$shard" -v shards="$shards" '!/\/e2e$/ && NF && ++n % shards == shard % shards'
