"""Hides secrets in pytest's reports, in the process that makes them, before anything shows or stores them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import fields, replace
from typing import Any

import pytest

from pytest_dogfood.execution.masking import SecretKeeper
from pytest_dogfood.stash import KEEPER, SETTINGS

Mask = Callable[[str], str]


def keeper_of(config: pytest.Config) -> SecretKeeper:
    """Give what this process knows of secrets; from the first time on reports are masked by it."""
    if KEEPER not in config.stash:
        config.stash[KEEPER] = SecretKeeper.from_environment(config.stash[SETTINGS].secrets)
        config.pluginmanager.register(ReportMask(config, config.stash[KEEPER]), "dogfood-report-mask")
    return config.stash[KEEPER]


class ReportMask:
    """The plugin that masks reports of whatever item they are, once some secret is known."""

    def __init__(self, config: pytest.Config, keeper: SecretKeeper) -> None:
        self._config = config
        self._keeper = keeper

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, object, object]:
        # What a worker has sent was masked there, by all that it knew.
        if self._keeper.secrets and not hasattr(report, "node"):
            self._hide(report)
            report.user_properties = [
                (self._keeper.mask(str(name)), masked(value, self._keeper.mask))
                for name, value in report.user_properties
            ]
            if hasattr(report, "wasxfail"):
                report.wasxfail = self._keeper.mask(report.wasxfail)
            context: Any = getattr(report, "context", None)  # of a subtest
            if context is not None:
                parts = {one.name: getattr(context, one.name) for one in fields(context)}
                report.__dict__["context"] = replace(context, **masked(parts, self._keeper.mask))
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> Generator[None, object, object]:
        if self._keeper.secrets and not hasattr(report, "node"):
            self._hide(report)
        return (yield)

    def _hide(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        report.sections = [(name, self._keeper.mask(text)) for name, text in report.sections]
        if report.longrepr is None or isinstance(report.longrepr, str | tuple):
            report.longrepr = masked(report.longrepr, self._keeper.mask)
            return
        # The parts of a traceback have no public types. What xdist sends of them is text in lists and dicts.
        carrier = pytest.TestReport("", ("", None, ""), {}, "failed", report.longrepr, "call")
        content = self._config.hook.pytest_report_to_serializable(config=self._config, report=carrier)
        hidden = masked(content["longrepr"], self._keeper.mask)
        if hidden != content["longrepr"]:
            content["longrepr"] = hidden
            restored = self._config.hook.pytest_report_from_serializable(config=self._config, data=content)
            report.longrepr = restored.longrepr


def masked(value: Any, mask: Mask) -> Any:  # noqa: ANN401 - a test may record whatever it likes
    """Mask all texts in a value. What is neither text nor made of such becomes a text if that would show a secret."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {masked(key, mask): masked(one, mask) for key, one in value.items()}
    if isinstance(value, list | tuple) and type(value) in {list, tuple}:
        return type(value)(masked(one, mask) for one in value)
    shown = str(value)
    hidden = mask(shown)
    return value if hidden == shown else hidden
