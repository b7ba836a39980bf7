#!/usr/bin/env bash
# One thing that your users do, as they do it. Run it with: pytest --dogfood
# A line that begins with `# dogfood:` holds a key and its value. To use one of the indented keys below, put `dogfood:`
# before it, with one space on each side. Delete what you do not need.
#
# Why it matters to them, and how long it may take.
# dogfood: rationale: it is the first thing that new users try
# dogfood: timeout: 60
#
# Tokens that must be present before it starts, and tokens that are present once it has passed.
#   requires: {needed}
#   establishes: {token}
#
# How early it runs: smoke, core or deep. If a gating journey fails, the later tiers are not run.
#   tier: core
#   gating: true
#
# What it must print, and what it reads from standard input. It exits with 0 if all is well.
#   expect: {stdout: {contains: what the user types}}
#   stdin: "ada\nyes\n"

# End where a command fails.
set -euo pipefail

# Replace `echo` with your own commands. Write what dependents use below "$DOGFOOD_STATE", and all else below
# "$DOGFOOD_WORKDIR", a fresh directory: another worker may run another script at the same time.
echo "what the user types"
