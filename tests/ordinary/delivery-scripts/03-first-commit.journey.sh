#!/usr/bin/env bash
# dogfood: requires: cloned
# dogfood: establishes: first-commit
# dogfood: save: {commit: {stdout: "^([0-9a-f]{4,})$"}}
set -euo pipefail
echo "run 03" >>"$LOG"
sleep "${DELIVER_SLOW:-0}"
cd "$CLONE"
echo "how to build it" >README
"$DELIVER" save "Say how to build it"
