"""Checks workplans against the hub as pytest items; one process checks, and the others get its results."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, convert, to_builtins
from msgspec.structs import replace

from pytest_dogfood.consistency.hub.model import PACKAGES, UNREACHABLE, HubError, HubUsageError
from pytest_dogfood.consistency.task_findings import Finding, FindingSeverity
from pytest_dogfood.diagnostics import printable

REPOSITORY = "repository"
"""The name of the check of a repository as a whole."""


class Check(Struct, frozen=True, kw_only=True):
    """The check of one task, file or repository; `checkout` is the directory that contains it."""

    group: str
    name: str
    checkout: str
    findings: tuple[Finding, ...] = ()


class Snapshot(Struct, frozen=True, kw_only=True):
    """All checks of a run, or, in `error`, why there are none."""

    checks: tuple[Check, ...] = ()
    error: str = ""

    def to_json(self) -> str:
        # Escaped, because file names need not be UTF-8, and data for another process must be.
        return json.dumps(to_builtins(self), ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> Snapshot:
        """Return the snapshot that `to_json` wrote."""
        return convert(json.loads(text), cls)

    def restricted_to(self, names: Iterable[str]) -> Snapshot:
        """Return the snapshot with only the checks of these names, which are `GROUP` or `GROUP::NAME`."""
        wanted = set(names)
        kept = (check for check in self.checks if {check.group, f"{check.group}::{check.name}"} & wanted)
        return replace(self, checks=tuple(kept))


def checks_of(
    repo: str, checkout: str, task_ids: Iterable[str], findings: Iterable[Finding], *, alone: bool
) -> Iterator[Check]:
    """Yield the checks of one checkout; `alone` means that it is the only one of its repository."""
    found: dict[str, list[Finding]] = {REPOSITORY: [], **{printable(task): [] for task in task_ids}}
    for finding in findings:
        found.setdefault(printable(finding.task_id or finding.path or REPOSITORY), []).append(finding)
    group = printable(repo if alone else f"{repo}@{checkout}")
    for name, about in found.items():
        yield Check(group=group, name=name, checkout=checkout, findings=tuple(about))


ROOT = "consistency"
"""The beginning of the node ids."""

_WORKERINPUT = "dogfood_consistency"


class DogfoodConsistencyWarning(UserWarning):
    """A workplan and the hub differ, because work went on elsewhere, or in a way that you should check."""


class Consistency:
    """The plugin of every process: the one that starts the others checks once, and gives them the results."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._snapshot = Snapshot()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        # Ids of checks are taken out of the arguments, since pytest would look for files of these names.
        prefix, arguments = f"{ROOT}::", self._config.args
        named = [each.removeprefix(prefix) for each in arguments if each.startswith(prefix)]
        arguments[:] = [each for each in arguments if not each.startswith(prefix)]
        handed_on = getattr(self._config, "workerinput", None)
        if handed_on is not None:
            self._snapshot = Snapshot.from_json(handed_on[_WORKERINPUT])
            return
        snapshot = take_snapshot(self._config)
        if named and not snapshot.error:
            if unknown := [name for name in named if not snapshot.restricted_to([name]).checks]:
                raise pytest.UsageError("\n".join(f"not found: {ROOT}::{name}" for name in unknown))
            snapshot = snapshot.restricted_to(named)
        self._snapshot = snapshot

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:  # noqa: ANN401 - xdist's
        node.workerinput[_WORKERINPUT] = self._snapshot.to_json()

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        if isinstance(collector, pytest.Session) and report.passed:
            report.result = [*report.result, _collect(collector, self._snapshot)]
        return report


def _collect(session: pytest.Session, snapshot: Snapshot) -> _Group:
    """Return a group for each checkout or, if the hub cannot be reached, one item with that error."""
    root: _Group = _Group.from_parent(session, name=ROOT, nodeid=ROOT)
    if snapshot.error:
        root.members.append(_Unreachable.from_parent(root, name="hub", error=snapshot.error))
    for name, checks in groupby(snapshot.checks, attrgetter("group")):
        group: _Group = _Group.from_parent(root, name=name)
        group.members += [ConsistencyItem.from_parent(group, name=each.name, check=each) for each in checks]
        root.members.append(group)
    return root


class _Group(pytest.Collector):
    """Collects the members that it was given."""

    def __init__(self, **others: Any) -> None:  # noqa: ANN401 - handed on to pytest
        super().__init__(**others)
        self.members: list[pytest.Item | pytest.Collector] = []

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        return self.members


class ConsistencyItem(pytest.Item):
    """One check: failed by FAIL, and by WARN in strict runs."""

    def __init__(self, *, check: Check, **others: Any) -> None:  # noqa: ANN401 - handed on to pytest
        super().__init__(**others)
        self._check = check

    def runtest(self) -> None:
        fatal = {FindingSeverity.FAIL}
        if self.config.getoption("dogfood_consistency_strict"):
            fatal.add(FindingSeverity.WARN)
        findings = self._check.findings
        # So that JUnit has them too, even those of checks that pass.
        self.user_properties.extend((each.code, f"{each.severity.value} {each.text}") for each in findings)
        if remarks := [finding for finding in findings if finding.severity is FindingSeverity.INFO]:
            self.add_report_section("call", ROOT, in_words(remarks))
        others = [finding for finding in findings if finding.severity is not FindingSeverity.INFO]
        if any(finding.severity in fatal for finding in others):
            pytest.fail(in_words(others), pytrace=False)
        for finding in others:
            self.warn(DogfoodConsistencyWarning(in_words([finding])))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:  # noqa: ANN401 - pytest's
        if isinstance(excinfo.value, DogfoodConsistencyWarning):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        # pytest splits a title at its dots if the node id ends with it.
        title = f"{self.name} ({self._check.group})"
        directory = Path(self._check.checkout)
        placed = next((finding for finding in self._check.findings if finding.path), None)
        if placed is None:
            return directory, None, title
        return directory / placed.path, placed.line - 1 if placed.line else None, title


class _Unreachable(pytest.Item):
    """An error: without the hub no task can be checked."""

    def __init__(self, *, error: str, **others: Any) -> None:  # noqa: ANN401 - handed on to pytest
        super().__init__(**others)
        self._error = error

    def setup(self) -> None:
        pytest.fail(self._error, pytrace=False)

    def runtest(self) -> None:
        """Never runs: the set-up fails."""

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, "the hub"


def in_words(findings: Iterable[Finding]) -> str:
    """Return each finding as a line, and its hint as another."""
    lines: list[str] = []
    for each in findings:
        place = f"{each.path}:{each.line}: " if each.line else f"{each.path}: " if each.path else ""
        lines.append(f"{each.label} {each.severity.value} {place}{each.text}")
        if each.hint:
            lines.append(f"    hint: {each.hint}")
    return "\n".join(lines)


def take_snapshot(config: pytest.Config) -> Snapshot:
    """Check the checkout that contains the rootdir, or else all on this machine.

    If the hub does not answer, the snapshot has the error. Raises pytest.UsageError if no hub is named, or no
    checkout is registered.
    """
    try:
        return Snapshot(checks=tuple(_run_checks(config)))
    except HubError as error:
        if error.exit_status != UNREACHABLE:
            raise pytest.UsageError(str(error)) from error
        return Snapshot(error=str(error))
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        raise pytest.UsageError(
            "--dogfood-consistency needs more packages: pip install 'pytest-dogfood[hub]'"
        ) from error


def _run_checks(config: pytest.Config) -> Iterator[Check]:
    from pytest_dogfood.consistency.check import CheckOptions, check
    from pytest_dogfood.consistency.checkouts import around
    from pytest_dogfood.consistency.hub.location import VARIABLE, open_hub, this_machine

    named = "" if os.environ.get(VARIABLE, "").strip() else config.getini("dogfood_hub")
    start = (config.inipath or config.rootpath / "pytest.ini").parent if named else config.rootpath
    root = config.rootpath.resolve()
    with open_hub(named, start=start, readonly=True, repository=root) as hub:
        here = hub.checkouts(this_machine(create=False).id)
        if not here:
            raise HubUsageError("no checkout is registered on this machine: dogfood hub register PATH")
        options = CheckOptions(offline=bool(config.getoption("dogfood_consistency_offline")))
        reports = list(check(hub, around(here, root)[-1:] or here, options))
    often = Counter(report.repo for report in reports)
    for report in reports:
        alone = often[report.repo] == 1
        yield from checks_of(report.repo, report.path, report.task_ids, report.findings, alone=alone)
