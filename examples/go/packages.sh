#!/bin/sh
# Prints the packages that have tests, or with SHARD and SHARDS every
# SHARDS-th of them. The end-to-end tests, which run this, are not among them.
set -eu
go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... |
  awk -v shard="${1:-1}" -v shards="${2:-1}" '!/\/e2e$/ && NF && ++n % shards == shard % shards'
