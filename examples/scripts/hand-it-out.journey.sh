#!/bin/sh
# dogfood: requires: recipe-improved
# Pack the newest version, and look into the package.
set -eu

git -C "$REPO" archive --output "$DOGFOOD_WORKDIR/bread.tar" "$DOGFOOD_RECIPE_IMPROVED_VERSION"
tar -xf "$DOGFOOD_WORKDIR/bread.tar" -O bread.txt | grep "50 minutes"
