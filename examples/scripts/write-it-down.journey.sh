#!/usr/bin/env bash
# dogfood: establishes: recipe-written
# Write a recipe down, in a repository that is made for it.
set -euo pipefail

git init --quiet --initial-branch main "$REPO"
cp bread.txt "$REPO/"
git -C "$REPO" add bread.txt
git -C "$REPO" commit --quiet --message "Bread as my mother makes it"
