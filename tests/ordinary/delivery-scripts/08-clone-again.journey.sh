#!/bin/sh
# dogfood: requires: [upstream-made, released]
# dogfood: expect: {stdout: {contains: v1.0}}
# dogfood: cwd: .
set -eu
echo "run 08" >>"$LOG"
git clone -q "$UPSTREAM" copy
cd copy
test -f NEWS
git describe --tags
