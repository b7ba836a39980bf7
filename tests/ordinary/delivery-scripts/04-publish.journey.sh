#!/usr/bin/env bash
# dogfood: requires: [cloned, first-commit]
# dogfood: establishes: published
set -euo pipefail
echo "run 04" >>"$LOG"
cd "$CLONE"
"$DELIVER" publish
git ls-remote origin main | grep -q "^$DOGFOOD_FIRST_COMMIT_COMMIT"
