#!/bin/sh
# Counts and adds up the numbers of shard $1, which has $2 of them.
set -eu
if [ "$MODPIPE_ATTEMPT" = 1 ] && [ $(($1 % 3)) = 0 ]; then
  echo "shard $1: the source is busy, try again" >&2
  exit 75
fi
first=$(($1 * $2 + 1))
awk -v first="$first" -v n="$2" 'BEGIN {
  for (i = first; i < first + n; i++) sum += i
  printf "count=%d\nsum=%d\n", n, sum
}' >>"$MODPIPE_OUTPUT"
echo "shard $1: $first to $((first + $2 - 1))"
