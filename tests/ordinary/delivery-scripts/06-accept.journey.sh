#!/usr/bin/env bash
# dogfood: requires: [cloned, proposed]
# dogfood: establishes: accepted
# dogfood: cleanup: [{run: 'echo "clean 06" >>"$LOG"'}]
set -euo pipefail
echo "run 06" >>"$LOG"
cd "$CLONE"
"$DELIVER" accept proposal
test -f NEWS
