#!/bin/sh
# Compares the merged result with what the sum of 1 to n must be.
set -eu
n=$(($1 * $2))
want=$((n * (n + 1) / 2))
if [ "$COUNT" != "$n" ] || [ "$SUM" != "$want" ]; then
  echo "the sum of $COUNT numbers is $SUM; want $want of $n" >&2
  exit 1
fi
echo "the sum of the numbers from 1 to $n is $SUM"
