"""The shells that run the text of steps, as words of a command."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from functools import cache

from pytest_dogfood.diagnostics import HarnessError

_SHELL_FLAGS: Mapping[str, tuple[str, ...]] = {"bash": ("-eo", "pipefail"), "sh": ("-e",)}


def shell_argv(run: str | tuple[str, ...], shell: str | None) -> tuple[str, ...]:
    """Return the argv of a step's command: text is run by `shell` or the default one, a tuple is an argv already."""
    return (*_shell(shell), "-c", run) if isinstance(run, str) else run


def default_shell() -> str:
    """Name the shell that runs text, for people."""
    program, *flags = _shell(None)
    return " ".join([os.path.basename(program), *flags])  # noqa: PTH119 - a word, not a file we touch


@cache
def _shell(name: str | None) -> tuple[str, ...]:
    if name is None:
        name = "bash" if shutil.which("bash") else "sh"
    if name in _SHELL_FLAGS:
        # The whole path: a step that sets its own PATH still has a shell, and the search is done once.
        return (shutil.which(name) or name, *_SHELL_FLAGS[name])
    try:
        words = shlex.split(name)
    except ValueError as error:
        raise HarnessError(f"cannot read `shell: {name}`: {error}; quote it as in a shell") from error
    if not words:
        raise HarnessError("`shell:` is empty; name a shell, such as `zsh -e`, or leave it out")
    return tuple(words)
