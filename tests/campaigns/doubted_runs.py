"""Real projects of YAML files, scripts and Python tests with one wrong declaration, or none, under `dogfood doubt`.

    python -m tests.campaigns.doubted_runs [FIRST [COUNT [WORKERS]]]

Draws COUNT projects (default 12) by the seeds from FIRST on, in turns with a fault of each kind and without one, prints
what is not as it should be, and ends with 1 if there was any. A project whose ordinary run is red,
because a test cannot be replayed, only has to say so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.doubted_files import written
from tests.support.seeded_faults import KINDS, THOROUGH_KINDS, Fault, draw, draw_clean


def judged(seed: int, workers: int) -> list[str]:
    """Write and doubt one project; return what is not as it should be."""
    kind = [*THOROUGH_KINDS, ""][seed % (len(THOROUGH_KINDS) + 1)]
    fault: Fault | None = None
    if kind:
        project, (fault,) = draw(seed, (kind,), least=4, most=7)
    else:
        project = draw_clean(seed, least=4, most=7).project
    root = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
    try:
        (root / "project").mkdir()
        is_thorough = kind not in {*KINDS, ""}
        # Only a journey that has several steps can end half-way.
        in_yaml = {fault.guilty} if is_thorough and fault is not None else set()
        ids = written(project, root / "project", states=root / "s", seed=seed, in_yaml=in_yaml)
        done = _doubt(root / "project", workers, *["--thorough"] * is_thorough)
        if "in the ordinary run" in done.stdout:
            return [] if done.returncode == 1 else [f"a red ordinary run with exit status {done.returncode}"]
        findings = re.findall(r"^\S+:\d+: (?!hint)(.*) \[([a-z-]+)\]$", done.stdout, re.MULTILINE)
        wrong: list[str] = []
        if done.returncode != int(fault is not None):
            wrong.append(f"exit status {done.returncode}")
        if fault is None and findings:
            wrong.append("a finding, and nothing is wrong")
        if fault is not None:
            named = [ids[one] for one in (fault.journey, fault.guilty) if one is not None]
            wanted = [*named, *([fault.token] if fault.token is not None else [])]
            hits = [
                text for text, code in findings if code == fault.code and all(one in text for one in wanted)
            ]
            if len(hits) != 1 or len(findings) != 1:
                wrong.append(f"not found, or not alone: {fault}")
        return [f"{kind or 'clean'}: {one}\n{done.stdout}{done.stderr}" for one in wrong]
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _doubt(project: Path, workers: int, *options: str) -> subprocess.CompletedProcess[str]:
    words = ["-n", str(workers)] if workers else []
    ours = ("PYTEST_", "DOGFOOD_", "GITHUB_")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [sys.executable, "-m", "pytest_dogfood", "doubt", *words, *options],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
    )


def main(first: int = 0, count: int = 12, workers: int = 0) -> int:
    """Doubt real projects; return the number of those that were not as they should be."""
    bad = 0
    for seed in range(first, first + count):
        wrong = judged(seed, workers)
        bad += bool(wrong)
        sys.stdout.write(f"seed {seed}: {'as it should be' if not wrong else ''}\n")
        sys.stdout.write("".join(f"{one}\n" for one in wrong))
        sys.stdout.flush()
    sys.stdout.write(f"{count} projects from seed {first}, {bad} not as they should be\n")
    return bad


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])) > 0)
