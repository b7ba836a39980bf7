#!/usr/bin/env bash
# dogfood: requires: upstream-made
# dogfood: establishes: cloned
set -euo pipefail
echo "run 02" >>"$LOG"
git clone -q "$UPSTREAM" "$CLONE" 2>/dev/null
cd "$CLONE"
"$DELIVER" start ada
