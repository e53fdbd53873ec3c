#!/bin/sh
# Adds up what the members found: their outputs, as JSON on standard input.
set -eu
members=$(cat)

total() {
  printf '%s' "$members" | grep -o "\"$1\": *\"[0-9]*\"" | tr -cd '0-9\n' | awk '{ total += $1 } END { printf "%d", total }'
}

echo "count=$(total count)" >>"$MODPIPE_OUTPUT"
echo "sum=$(total sum)" >>"$MODPIPE_OUTPUT"
