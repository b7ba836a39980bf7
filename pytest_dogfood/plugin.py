"""The module that pytest loads: options, markers and registration. It imports nothing heavy before a run needs it."""

from __future__ import annotations

import os
import sys
from argparse import SUPPRESS, Namespace
from collections.abc import Generator, Sequence
from contextlib import suppress
from enum import StrEnum
from functools import partial
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_dogfood.settings import Settings

FLAG: dict[str, Any] = {"action": "store_true"}

OPTIONS = {
    "--dogfood": (FLAG, "run journey files and the capability graph"),
    "--dogfood-check": (FLAG, "validate the graph and print the plan; run nothing"),
    "--dogfood-format": (
        {"choices": ("text", "json"), "default": "text"},
        "output format of --dogfood-check (default: text)",
    ),
    "--dogfood-strict": (FLAG, "count warnings of --dogfood-check as errors"),
    "--dogfood-workers": (
        {"type": int, "metavar": "N"},
        "plan for N workers under --dogfood-check (default: as -n says)",
    ),
    "--dogfood-manifest": (
        {"metavar": "PATH"},
        "where a shard writes its manifest, relative to the rootdir (default: dogfood-shard-I-of-N.json)",
    ),
    "--dogfood-shard": ({"metavar": "I/N"}, "run part I of N of the project, counted from 1"),
    "--dogfood-fleet": (
        {"metavar": "RUN", "dest": "dogfood_fleet_run"},
        "run together with the other machines that name this run; `ci` means the CI system's pipeline",
    ),
    "--dogfood-provision": (
        {"choices": ("auto", "never")},
        "whether missing tokens are provisioned (default: auto)",
    ),
    "--dogfood-blocked": (
        {"action": "append", "metavar": "TOKEN"},
        "a token known to be unavailable: whatever requires it is deferred; may be repeated",
    ),
    "--dogfood-cache": (
        {"choices": ("auto", "on", "off")},
        "whether provisioned states are restored from earlier runs (default: auto, not on a CI system)",
    ),
    "--dogfood-keep": (FLAG, "keep state and working directories after the run"),
    "--dogfood-report": (
        {"metavar": "FILE"},
        "write a report of the run there: Markdown, or what the ending .json or .trace.json says",
    ),
    "--dogfood-github": (
        {"choices": ("auto", "never"), "default": "auto"},
        "whether the summary and annotations of a GitHub job are written (default: auto)",
    ),
    "--dogfood-actor": (
        {"metavar": "COMMAND"},
        "program that chooses the commands of steps without one (ini dogfood_actor)",
    ),
    "--dogfood-record": ({"metavar": "DIR"}, "record the commands that actors choose, one file per journey"),
    "--dogfood-replay": ({"metavar": "DIR"}, "run recorded commands instead of an actor"),
    "--dogfood-plan": ({"metavar": "FILE"}, SUPPRESS),
    "--dogfood-consistency": (
        FLAG,
        "check the task blocks of workplans against the hub, as items; write nothing",
    ),
    "--dogfood-consistency-offline": (FLAG, "the same, without a git fetch"),
    "--dogfood-consistency-strict": (FLAG, "the same, and a warning fails its item"),
}

INI_KEYS = {
    "dogfood": ("bool", "run journey files and the capability graph, as --dogfood does"),
    "dogfood_files": ("args", "patterns of journey files' names"),
    "dogfood_provision": ("string", "auto or never: whether missing tokens are provisioned"),
    "dogfood_leaks": ("string", "processes that a journey leaves running: allow, warn (default) or fail"),
    "dogfood_blocked": ("args", "tokens known to be unavailable"),
    "dogfood_keep": ("bool", "keep state and working directories after the run"),
    "dogfood_shard": ("string", "the part I/N of the project to run"),
    "dogfood_secrets": ("args", "names of environment variables whose values are masked in all output"),
    "dogfood_min_measured": ("string", "percentage of journeys that must really run (default 50)"),
    "dogfood_timeout": (
        "string",
        "seconds that a step may take, unless its file sets a timeout (default 300)",
    ),
    "dogfood_actor": ("string", "program that chooses the commands of steps without one"),
    "dogfood_actor_actions": ("string", "actions that an actor may take in one journey (default 50)"),
    "dogfood_actor_turns": ("string", "answers that an actor may give in one step (default 20)"),
    "dogfood_actor_action_timeout": ("string", "seconds that one action of an actor may take (default 60)"),
    "dogfood_actor_answer_timeout": ("string", "seconds that an actor may take to answer (default 120)"),
    "dogfood_state_root": (
        "string",
        "directory for the state of runs; a short path, because sockets need one",
    ),
    "dogfood_copy_limit": (
        "string",
        "size of the largest state that is copied, such as 500MB (default 2GiB)",
    ),
    "dogfood_cache": ("string", "auto, on or off: whether provisioned states are restored from earlier runs"),
    "dogfood_cache_dir": ("string", "directory of the cache of states, which only you can write to"),
    "dogfood_cache_limit": ("string", "size of the cache of a project (default 5GiB)"),
    "dogfood_fleet": ("string", "URL of the PostgreSQL database by which machines share a run"),
    "dogfood_fleet_lease": (
        "string",
        "seconds without a sign of life after which a machine is lost (default: 30)",
    ),
    "dogfood_dependency_markers": ("bool", "run tests by their pytest-dependency marks, under --dogfood"),
}

FILE_ENDINGS = (".yaml", ".yml", ".json", ".sh")
"""Endings of files that can be journey files, if you name them."""


class _OwnModules:
    """Finds the modules of this package, so that pytest does not load them itself.

    It would, to rewrite their assertions, of which there are none, and its way of loading takes twice as long.
    """

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(name, path, target) if name.startswith("pytest_dogfood.") else None


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    # Also without --dogfood: a conftest file may still contain such hooks.
    from pytest_dogfood import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    group = parser.getgroup("dogfood", "journeys that depend on each other (dogfood)")
    for option, (kind, text) in OPTIONS.items():
        group.addoption(option, help=text, **kind)
    parser.addini("dogfood_hub", "URL of the hub, for --dogfood-consistency and the command dogfood")
    for name, (ini_type, text) in INI_KEYS.items():
        default = False if ini_type == "bool" else None
        parser.addini(name, text, type=ini_type, default=default)  # type: ignore[arg-type]
    if find_spec("pytest_dependency") is None or pluginmanager.is_blocked("dependency"):
        # So that a suite that was written for that plugin starts unchanged.
        group.addoption(
            "--ignore-unknown-dependency",
            action="store_true",
            help="with dogfood_dependency_markers, ignore dependencies on tests that are not selected",
        )
        parser.addini(
            "automark_dependency", "let tests depend on any test, marked or not", type="bool", default=False
        )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Write no bytecode of conftest files and tests under --dogfood-check, and measure no coverage of what only tries.

    As a wrapper this comes before what begins to measure.
    """
    _leave_out_neighbours(early_config.known_args_namespace)
    if early_config.known_args_namespace.dogfood_check:
        early_config.add_cleanup(partial(setattr, sys, "dont_write_bytecode", sys.dont_write_bytecode))
        sys.dont_write_bytecode = True
    if is_on(early_config, early_config.known_args_namespace) and early_config.getini(
        "dogfood_dependency_markers"
    ):
        from pytest_dogfood.collection.dependency_marks import replace_depends

        replace_depends(early_config)  # before conftest files import pytest-dependency's function
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    if config.getoption("dogfood_check") or config.getoption("dogfood_plan") is not None:
        from pytest_dogfood.session.check_plugin import CacheWriteBlocker

        config.pluginmanager.register(CacheWriteBlocker(), "dogfood-writing-nothing")
    _leave_out_neighbours(config.option)


def _leave_out_neighbours(options: Namespace) -> None:
    """Keep what other plugins do for the user's own runs out of one that only checks, or tests declarations."""
    if options.dogfood_plan is not None:
        from pytest_dogfood.neighbours import ORDER, REPETITION, REPORTS, leave_out

        leave_out(options, REPORTS, ORDER, REPETITION)
    elif options.dogfood_check:
        from pytest_dogfood.neighbours import COVERAGE, leave_out

        leave_out(options, COVERAGE)


def pytest_configure(config: pytest.Config) -> None:
    if any(config.getoption(f"dogfood_consistency{which}") for which in ("", "_offline", "_strict")):
        from pytest_dogfood.consistency.pytest_plugin import Consistency

        config.pluginmanager.register(Consistency(config), "dogfood-consistency")
    _refuse_what_only_a_check_does(config)
    if is_on(config, config.option):
        finder = _OwnModules()
        sys.meta_path.insert(0, finder)
        config.add_cleanup(partial(sys.meta_path.remove, finder))
        _declare_markers(config)
        from pytest_dogfood.registration import register_plugins

        register_plugins(config, read_settings(config))
        return
    _refuse_what_would_be_ignored(config)
    # The project has opted in.
    places = (config.rootpath, *(config.rootpath / name for name in config.getini("testpaths")))
    if any(map(config.getini, INI_KEYS)) or any((place / "dogfood.yaml").is_file() for place in places):
        _declare_markers(config)
        from pytest_dogfood.session.disabled import DisabledFixtures, DisabledPlugin

        config.pluginmanager.register(DisabledPlugin(config), "dogfood-absence")
        config.pluginmanager.register(DisabledFixtures(), "dogfood-absent-fixtures")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Tell you to add --dogfood if nothing was collected and there are journey files. Other runs do not search."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and not is_on(config, config.option):
        from pytest_dogfood.session.disabled import left_out

        for line in left_out(config):
            terminalreporter.write_line(line)


def _refuse_what_would_be_ignored(config: pytest.Config) -> None:
    """Refuse options that only --dogfood understands: a run of the whole project is not a shard of it."""
    files = [argument.partition("::")[0] for argument in config.args]
    places = {config.invocation_params.dir / name: name for name in files if name.endswith(FILE_ENDINGS)}
    named = {Path(os.path.normpath(place)): name for place, name in places.items() if place.is_file()}
    if named:
        from pytest_dogfood.session.disabled import DisabledFiles

        config.pluginmanager.register(DisabledFiles(named), "dogfood-forgotten")
    for option in ("shard", "fleet", "record", "replay", "report", "plan"):
        if config.getoption(f"--dogfood-{option}") is not None:
            raise pytest.UsageError(
                f"--dogfood-{option} does nothing without --dogfood: add --dogfood, or `dogfood = true` to the ini file"
            )


def _refuse_what_only_a_check_does(config: pytest.Config) -> None:
    """Refuse options that only --dogfood-check understands: a run is not as strict as the check."""
    if config.getoption("dogfood_check"):
        return
    for option, default in (("strict", False), ("format", "text"), ("workers", None)):
        if config.getoption(f"dogfood_{option}") != default:
            raise pytest.UsageError(
                f"--dogfood-{option} does nothing without --dogfood-check: add --dogfood-check, or leave it out"
            )


def is_on(config: pytest.Config, options: Namespace) -> bool:
    return bool(options.dogfood or options.dogfood_check or config.getini("dogfood"))


def _declare_markers(config: pytest.Config) -> None:
    lines = [
        "requires(token, ...): run only if each of these tokens is present",
        "establishes(token, ...): these tokens are present once the test has passed",
        "invalidates(token, ...): the test destroys these tokens, so it runs after the others that need them",
    ]
    lines += [f"dogfood_{line}" for line in lines]
    lines.append(
        "no_doubt(reason, codes=[...]): what is found by other orders, of these codes, is meant to be so"
    )
    if config.getini("dogfood_dependency_markers"):
        lines.append(
            "dependency(name=None, depends=[], scope='module'): run only if each of these tests has passed"
        )
    for line in lines:
        config.addinivalue_line("markers", line)


def read_settings(config: pytest.Config) -> Settings:
    """Read options and ini values, options first; raises UsageError for invalid values."""
    from dataclasses import fields

    from pytest_dogfood.settings import Settings, Shard

    values: dict[str, Any] = {
        "ignore_unknown_dependency": bool(config.getoption("ignore_unknown_dependency", False)),
    }
    with suppress(ValueError):  # pytest-dependency is installed, but not loaded: the ini key is not declared
        values["automark_dependency"] = bool(config.getini("automark_dependency"))
    try:
        for field in fields(Settings):
            name = f"dogfood_{field.name}"
            given = config.getoption(name, None)
            if given is None or given is False:
                given = (config.getini(name) or None) if name in INI_KEYS else None
            if given is not None:
                values[field.name] = _converted(name, given, field.default)
        values["actor"] = values.get("actor") or None  # an empty option overrides the ini file
        shard, plan = values.pop("shard", None), config.getoption("dogfood_plan")
        # Empty, it stands in place of a project's own where a plan file says what runs; a user has forgotten a value.
        if shard is not None and (shard or plan is None):
            values["shard"] = Shard.parse(shard, os.environ)
        return Settings(**values)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


def _converted(name: str, given: Any, default: Any) -> Any:  # noqa: ANN401 - of as many types as settings are
    """Convert a given value to the type of the default; raises ValueError with a message for the user."""
    from pytest_dogfood.settings import Size

    if default is None:
        return given
    try:
        return type(default)(given)
    except ValueError:
        wanted = f"a number, such as {default}"
        if isinstance(default, Size):
            wanted = "a size, such as 500MB or 2GiB"
        if isinstance(default, StrEnum):
            *others, last = type(default)
            wanted = f"{', '.join(others)} or {last}"
        raise ValueError(f"{name} is {wanted}, not {given!r}") from None
