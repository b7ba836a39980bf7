#!/usr/bin/env bash
# dogfood: requires: recipe-written
# dogfood: establishes: recipe-improved
# dogfood: save: {version: {stdout: "^version (.+)$"}}
# Change the recipe, and give it a number.
set -euo pipefail

cd "$REPO"
sed -i.old 's/40 minutes/50 minutes/' bread.txt
git commit --quiet --all --message "Bake longer"
git tag --annotate v2 --message "Second edition"
echo "version $(git describe)"
