#!/usr/bin/env bash
# dogfood: establishes: upstream-made
set -euo pipefail
echo "run 01" >>"$LOG"
git init -q --bare -b main "$UPSTREAM"
