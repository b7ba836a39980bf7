"""Runs random projects in many ways, and tells what came to another outcome than the model's.

python -m tests.ordinary.projects --seeds 0-299                       three ways for each project
python -m tests.ordinary.projects --seeds 17 --ways shards --keep     one project in one way; its directory stays
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.ordinary.files import write
from tests.ordinary.generator import random_model
from tests.ordinary.project import Project
from tests.ordinary.ways import WAYS, Trial

WAYS_EACH = 3


def ways_for(seed: int) -> list[str]:
    """Choose ways to run a project: as a whole, and some of the others."""
    others = [name for name in WAYS if name != "whole"]
    return ["whole", *Random(f"ways {seed}").sample(others, WAYS_EACH - 1)]  # noqa: S311 - a die


def complaints(seed: int, way: str, directory: Path) -> list[str]:
    """Run one project in one way; give what was wrong."""
    model = random_model(Random(seed))  # noqa: S311 - a die
    if not (directory / "library.sh").exists():
        write(model, directory)
    runs = len(list(directory.glob("output*")))
    trial = Trial(model=model, project=Project(directory, runs), dice=Random(f"{way} {seed}"))  # noqa: S311 - a die
    return WAYS[way](trial)


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; give 1 if anything was wrong."""
    options = _options(arguments)
    began = time.monotonic()
    failing: list[str] = []
    runs: Counter[str] = Counter()
    projects = 0
    for seed in _range(options.seeds):
        if time.monotonic() - began > options.minutes * 60:
            break
        projects += 1
        directory = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
        wrong = [
            way
            for way in (options.ways.split(",") if options.ways else ways_for(seed))
            if _tell(seed, way, directory, runs)
        ]
        failing += [f"{seed} {way}" for way in wrong]
        if not (options.keep or (wrong and options.keep_wrong)):
            shutil.rmtree(directory, ignore_errors=True)
    told = ", ".join(f"{name} {number}" for name, number in runs.items())
    _say(f"{projects} projects, {sum(runs.values())} runs ({told}) in {time.monotonic() - began:.0f} s")
    _say("complaints: " + ("none" if not failing else ", ".join(f"seed {one}" for one in failing)))
    return bool(failing)


def _tell(seed: int, way: str, directory: Path, runs: Counter[str]) -> bool:
    """Run one project in one way; tell what was wrong, and whether anything was."""
    before = len(list(directory.glob("output*")))
    found = complaints(seed, way, directory)
    runs[way] += len(list(directory.glob("output*"))) - before
    if found:
        _say(f"seed {seed}, {way}, in {directory}:", *(f"    {one}" for one in found))
        _say(f"    repeat: python -m tests.ordinary.projects --seeds {seed} --ways {way} --keep")
    return bool(found)


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _options(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m tests.ordinary.projects", description=__doc__)
    parser.add_argument("--seeds", default="0-299", help="FIRST-LAST, or one number")
    parser.add_argument(
        "--ways", default="", help=f"of {', '.join(WAYS)}; some of them for each project by default"
    )
    parser.add_argument(
        "--minutes", type=float, default=600, help="begin no project after so many (default: 600)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the directories of the projects")
    parser.add_argument("--keep-wrong", action="store_true", help="keep those that came to something else")
    return parser.parse_args(arguments)


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
