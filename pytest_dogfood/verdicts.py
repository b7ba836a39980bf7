"""How the tests came out that another names while it runs, by the names that their marks give them."""

from __future__ import annotations

import os

import pytest

from pytest_dogfood.collection.dependency_marks import home_of
from pytest_dogfood.collection.dependency_names import SCOPES, MarkedTest, Names
from pytest_dogfood.collection.exceptions import deferral, harness_failure
from pytest_dogfood.diagnostics import HarnessError, did_you_mean
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import Cause
from pytest_dogfood.storage.journal import Journal
from pytest_dogfood.unknownnames import why_unknown


class Verdicts:
    """What `depends` asks in this run."""

    def __init__(self, names: Names, journal: Journal, *, ignore_unknown: bool) -> None:
        self._names = names
        self._journal = journal
        self._ignore_unknown = ignore_unknown
        self._places = {test.id: place for place, test in enumerate(names.tests)}

    def __call__(self, request: pytest.FixtureRequest, other: tuple[str, ...], scope: str) -> None:
        """Raise what skips the running test unless each of the others has passed; ValueError for a bad scope."""
        __tracebackhide__ = True
        test = _asking(request, other, scope)
        for name in other:
            self._check(test, name)

    def _check(self, test: MarkedTest, name: str) -> None:
        __tracebackhide__ = True
        here = self._places.get(test.id, len(self._places))
        place = self._names.meant(name, test.scope, test.homes[test.scope], seen_from=here)
        if place is None:
            if not self._ignore_unknown:
                unknown = why_unknown(self._names, test, name)
                raise deferral(Cause(who=unknown.who, why=unknown.why))
            return
        meant = self._names.tests[place].id
        verdict = self._journal.verdict(meant)
        if verdict is None:
            self._refuse_what_has_not_run(meant, before=place < here)
            return
        cause = verdict.against()
        if cause is not None:
            raise deferral(cause)

    def _refuse_what_has_not_run(self, meant: JourneyId, *, before: bool) -> None:
        """Skip, as if tests ran in the order of their files; an error where in that order it would have run."""
        __tracebackhide__ = True
        if self._ignore_unknown:
            return
        why = "has not run by the time it is asked for"
        remedy = "a mark, depends=[…], says so before the run, and then it comes first"
        if before:
            raise harness_failure(HarnessError(f"{meant} {why}: {remedy}"))
        raise deferral(Cause(who=meant, why=f"{why}: {remedy}"))


def _asking(request: pytest.FixtureRequest, other: tuple[str, ...], scope: str) -> MarkedTest:
    """Give the running test as one that depends on the others; `request` may be that of a module's fixture."""
    if scope not in SCOPES:
        raise ValueError(f"{scope!r} is no scope: {did_you_mean(scope, SCOPES) or ', '.join(SCOPES)}")
    home = home_of(request.node, scope)
    if home is None:
        raise ValueError(f"{request.node.nodeid} is in no {scope}, so it cannot depend on others of it")
    running = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
    return MarkedTest(id=JourneyId(running), homes={scope: home}, depends=other, scope=scope)
