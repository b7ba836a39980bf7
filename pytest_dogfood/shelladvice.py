"""Remarks on scripts and steps that go on where one of their commands fails."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from pytest_dogfood.check.shell import LINES, ignored_failure, shell_of, stops_by_itself
from pytest_dogfood.diagnostics import Diagnostic, Location, Severity
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Script, Step

TextOf = Callable[[Script], str]
"""Gives what a script says, empty where it cannot be read."""

_GIVEN_FLAGS = frozenset({"bash", "sh"})
"""What `shell:` may say without flags: these are started so that they end where a command fails."""


def failures_that_are_ignored(graph: CapabilityGraph, text_of: TextOf) -> Iterator[Diagnostic]:
    """Remark each script, and for each `shell:` of a file the first step, that goes on where a command fails."""
    told: set[tuple[str, str]] = set()
    for step in _steps(graph):
        if isinstance(step.run, Script):
            yield from _of_script(step.run, text_of(step.run))
        elif isinstance(step.run, str) and step.shell is not None:
            key = (step.location.path, step.shell)
            if key not in told and _goes_on(step.shell, step.run):
                told.add(key)
                yield _remark(
                    step.location,
                    f"the step goes on where a command fails, since `shell: {step.shell}` does",
                    f"write `shell: {step.shell} -e`",
                )


def _steps(graph: CapabilityGraph) -> Iterator[Step]:
    for journey in graph.journeys.values():
        yield from (*journey.steps, *journey.cleanup)
    for capability in graph.capabilities.values():
        yield from (*capability.provision, *capability.release)


def _goes_on(shell: str, text: str) -> bool:
    try:
        words = shlex.split(shell)
    except ValueError:
        return False  # it cannot be started, which is said elsewhere
    known = shell not in _GIVEN_FLAGS and shell_of(words) != ""
    return known and not stops_by_itself(words) and ignored_failure(text) is not None


def _of_script(script: Script, text: str) -> Iterable[Diagnostic]:
    words = text.partition("\n")[0].removeprefix("#!").split()
    shell = shell_of(words)
    line = None if not shell or stops_by_itself(words) else ignored_failure(text)
    if line is None:
        return
    hint = f"add the line `{LINES[shell]}` below its first comment"
    if "pipefail" not in LINES[shell] and "|" in text.replace("||", ""):
        hint += "; to notice what fails before a pipe, too, `#!/usr/bin/env bash` and `set -eo pipefail`"
    yield _remark(
        Location(script.path, line, 1),
        "the script goes on where this command fails, so its journey may pass all the same",
        hint,
    )


def _remark(place: Location, message: str, hint: str) -> Diagnostic:
    found = Diagnostic(location=place, code="goes-on-after-failure", message=message, hint=hint)
    return replace(found, severity=Severity.INFO)
