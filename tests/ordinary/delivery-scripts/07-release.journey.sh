#!/usr/bin/env bash
# dogfood: requires: [published, accepted, cloned]
# dogfood: establishes: released
set -euo pipefail
echo "run 07" >>"$LOG"
cd "$CLONE"
"$DELIVER" publish
"$DELIVER" release 1.0
