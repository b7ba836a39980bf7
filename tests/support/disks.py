"""Disks that are full, or read-only: real ones, which nothing in the product knows of."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SIZE = 300 * 2**20
READ_ONLY = "remount,bind,ro"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no process write more than so many bytes into one file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


@contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """Have a small disk of its own at a place; skips the test where one may not."""
    with _mount("-t", "tmpfs", "-o", options, "tmpfs", str(place)):
        yield


@contextmanager
def formatted(place: Path, kind: str, image: Path) -> Iterator[None]:
    """Have a disk of 300 MiB with a file system of some kind at a place; skips the test where one may not."""
    if shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"mkfs.{kind} is not installed")
    with image.open("wb") as file:
        file.truncate(SIZE)
    try:
        subprocess.run([f"mkfs.{kind}", "-q", str(image)], check=True, capture_output=True)
        with _mount("-t", kind, "-o", "loop", str(image), str(place)):
            yield
    finally:
        image.unlink()


@contextmanager
def overlay(place: Path) -> Iterator[None]:
    """Have `run` of a place show `disk` and `upper`; skips the test where one may not."""
    layers = f"lowerdir={place}/disk,upperdir={place}/upper,workdir={place}/work"
    with _mount("-t", "overlay", "-o", f"{layers},xino=off", "overlay", str(place / "run")):
        yield


@contextmanager
def itself(place: Path) -> Iterator[None]:
    """Make a directory or a file a mount point, so that it can be made read-only, and never be replaced."""
    with _mount("--bind", str(place), str(place)):
        yield


@contextmanager
def read_only(place: Path) -> Iterator[None]:
    with itself(place):
        subprocess.run(["mount", "-o", READ_ONLY, place], check=True)
        yield


@contextmanager
def _mount(*arguments: str) -> Iterator[None]:
    place = arguments[-1]
    if subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode:
        pytest.skip("only root may mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
