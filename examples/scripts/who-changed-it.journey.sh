#!/usr/bin/env python3
# dogfood: requires: recipe-improved
"""See who changed which line of the recipe."""

import os
import subprocess

blame = ["git", "-C", os.environ["REPO"], "blame", "--line-porcelain", "bread.txt"]
told = subprocess.run(blame, check=True, capture_output=True, text=True).stdout
changed = [line for line in told.splitlines() if line == "summary Bake longer"]
print(told)
assert len(changed) == 1, f"{len(changed)} lines were changed"
