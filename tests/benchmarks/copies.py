"""What a copy of a state costs: many small files, beside `cp -a`, and much in a file whose blocks can be shared.

And what it saves: one journey behind a provider that takes a minute, once its state is in the cache.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from pytest_dogfood.storage.state_copy import copy_state
from tests.benchmarks.contenders import pytest, scratch
from tests.benchmarks.measuring import Row, ratio, spread, taking_turns, wall

FILES, SIZE = 1000, 10_000
MILLION = 1_000_000
LARGE = 500 * MILLION


def copies(times: int) -> list[Row]:
    """Time copies of two states."""
    return [
        _small_files(2 * times + 1),
        *(row for kind in ("btrfs", "xfs") for row in _large_file(kind, times)),
    ]


def restored(times: int) -> Row:
    """Time `-k` of one journey behind a provider that takes a minute, from the second time on."""
    seconds = 60
    with scratch() as directory:
        made = directory / "made"
        built = {
            "description": "the product is built",
            "copyable": True,
            "inputs": {"files": ["source"]},
            "probe": "test -f built",
            "provision": [{"run": f"sleep {seconds} && echo >>{made} && cp $DOGFOOD_ROOT/source built"}],
        }
        look = {"id": "look", "requires": ["built"], "steps": [{"run": "cat $DOGFOOD_STATE/built"}]}
        other = {"id": "other", "requires": ["built"], "steps": [{"run": "true"}]}
        (directory / "source").write_text("a line of text\n" * 1000)
        ini = f"[pytest]\ndogfood_cache = on\ndogfood_cache_dir = {directory / '.states'}\n"
        (directory / "pytest.ini").write_text(ini)
        (directory / "dogfood.yaml").write_text(json.dumps({"capabilities": {"built": built}}))
        (directory / "all.journey.json").write_text(json.dumps({"journeys": [look, other]}))
        first, *later = (
            wall(lambda: pytest("--dogfood", "-k", "look", cwd=directory)) for _ in range(times + 1)
        )
        if len(made.read_text().splitlines()) != 1:
            raise RuntimeError("what was provisioned was not restored")
    return Row(
        what=f"-k of one journey behind a provider of {seconds} s, once it is in the cache, s",
        ours=median(later),
        target=2.0,
        note=f"the first time {first:.1f} s; spread {spread({'': later}):.0%}",
    )


def _small_files(times: int) -> Row:
    with scratch() as directory:
        state, target = _places(directory)
        for number in range(FILES):
            (state / f"file-{number}").write_bytes(b"a line of text\n" * (SIZE // 15))
        os.sync()

        def ours() -> float:
            shutil.rmtree(target, ignore_errors=True)
            return wall(lambda: _copy(state, target))

        def cp() -> float:
            shutil.rmtree(target, ignore_errors=True)
            return wall(lambda: subprocess.run(["cp", "-a", state, target], check=True))

        seen = taking_turns({"ours": ours, "cp": cp}, times)
    return Row(
        what=f"copy of {FILES:,} files of {SIZE // 1000} KB ÷ cp -a",
        ours=ratio(seen, "ours", "cp"),
        target=1.3,
        note=f"{median(seen['ours']) * 1000:.0f} ms, cp {median(seen['cp']) * 1000:.0f} ms; spread {spread(seen):.0%}",
    )


def _large_file(kind: str, times: int) -> list[Row]:
    what = f"copy of {LARGE // MILLION} MB that share their blocks, {kind}, ms"
    first: list[float] = []
    later: list[float] = []
    busy: list[float] = []
    try:
        with scratch() as directory, _disk(kind, directory) as disk:
            state, target = _places(disk)
            (state / "data").write_bytes(os.urandom(LARGE))
            for _ in range(times + 1):
                (state / "data").touch()
                os.sync()
                (state / "data").read_bytes()
                time.sleep(2.1)  # what was written a moment ago is searched each time
                began = time.process_time()
                for seen in (first, later):
                    seen.append(wall(lambda: _copy(state, target)) * 1000)
                    shutil.rmtree(target)
                busy.append((time.process_time() - began) * 1000)
    except (OSError, subprocess.CalledProcessError) as error:
        return [Row(what=what, ours=float("nan"), note=f"not measured: {error}")]
    return [
        Row(
            what=what,
            ours=median(first[1:]),
            target=100,
            note=f"{median(busy[1:]):.0f} ms of a processor; spread {spread({'': first[1:]}):.0%}",
        ),
        Row(what=f"{what}, once more", ours=median(later[1:]), target=100),
    ]


def _copy(state: Path, target: Path) -> None:
    copy_state(state, target, limit=2**31)


def _places(directory: Path) -> tuple[Path, Path]:
    """Return a state and where its copy comes, with paths as long as those of a run in /tmp."""
    state = directory / "abcdef" / "c0-gw0"
    state.mkdir(parents=True)
    return state, state.with_name("c1-gw0")


@contextmanager
def _disk(kind: str, directory: Path) -> Iterator[Path]:
    """Have a file system that can share blocks; raises OSError or CalledProcessError where one may not."""
    image, place = directory / "i", directory / "d"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(4 * LARGE)
    subprocess.run([f"mkfs.{kind}", "-q", image], check=True, capture_output=True)
    subprocess.run(["mount", "-t", kind, "-o", "loop", image, place], check=True, capture_output=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
