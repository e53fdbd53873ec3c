#!/bin/sh
# Lists the shards as a JSON list: 0 to $1 - 1.
set -eu
list=
i=0
while [ "$i" -lt "$1" ]; do
  list="$list${list:+,}$i"
  i=$((i + 1))
done
echo "shards=[$list]" >>"$MODPIPE_OUTPUT"
echo "$1 shards"
