#!/usr/bin/env bash
# dogfood: requires: [cloned, first-commit]
# dogfood: establishes: proposed
set -euo pipefail
echo "run 05" >>"$LOG"
cd "$CLONE"
"$DELIVER" propose proposal
echo "1.0 comes soon" >NEWS
"$DELIVER" save "Tell the news"
git checkout -q main
