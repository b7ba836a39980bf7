"""What pytest loads: options, markers and wiring. Nothing heavy is imported before a run asks for us."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from pytest_dogfood.settings import Settings

Number = TypeVar("Number", int, float)

OPTIONS = {
    "dogfood": ("bool", False, "run journey files and the capability graph, as --dogfood does"),
    "dogfood_files": ("args", None, "patterns of journey files' names"),
    "dogfood_provision": ("string", None, "auto or never: whether missing tokens may be brought about"),
    "dogfood_blocked": ("args", None, "tokens that are known not to be had at present"),
    "dogfood_keep": ("bool", False, "keep state and working directories after the run"),
    "dogfood_shard": ("string", None, "the part I/N of the project to run"),
    "dogfood_secrets": ("args", None, "names of environment variables whose values are never shown"),
    "dogfood_min_measured": ("string", None, "percentage of journeys that must be measured (default 50)"),
    "dogfood_timeout": ("string", None, "seconds a step may take where nothing nearer says so (default 300)"),
    "dogfood_actor": ("string", None, "command of the actor that decides what steps without a command need"),
    "dogfood_actor_actions": ("string", None, "actions an actor may do in one journey (default 50)"),
    "dogfood_actor_turns": ("string", None, "times an actor may answer in one step (default 20)"),
    "dogfood_actor_action_timeout": ("string", None, "seconds one action of an actor may take (default 60)"),
    "dogfood_actor_answer_timeout": ("string", None, "seconds an actor may take to answer (default 120)"),
    "dogfood_state_root": ("string", None, "directory for the states of runs; a short path, for sockets"),
    "dogfood_dependency_markers": ("bool", False, "go by the marks of pytest-dependency, under --dogfood"),
}


JOURNEY_ENDINGS = tuple(f".journey.{ending}" for ending in ("yaml", "yml", "json", "sh"))

CONSISTENCY = {
    "--dogfood-consistency": "check the task blocks of workplans against the hub, as items; nothing is written",
    "--dogfood-consistency-offline": "the same without a git fetch",
    "--dogfood-consistency-strict": "the same, and let a warning fail its item",
}


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    # Also where we are off: a conftest file may hold such hooks all the same.
    from pytest_dogfood import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    group = parser.getgroup("dogfood", "journeys that depend on each other (dogfood)")
    group.addoption("--dogfood", action="store_true", help="run journey files and the capability graph")
    group.addoption(
        "--dogfood-check",
        action="store_true",
        help="validate the graph and print the plan; run nothing",
    )
    group.addoption(
        "--dogfood-format",
        choices=("text", "json"),
        default="text",
        help="output format of --dogfood-check (default: text)",
    )
    group.addoption(
        "--dogfood-strict", action="store_true", help="let --dogfood-check count warnings as errors"
    )
    group.addoption(
        "--dogfood-workers",
        type=int,
        metavar="N",
        help="plan for N workers under --dogfood-check (default: as -n says)",
    )
    group.addoption(
        "--dogfood-manifest",
        metavar="PATH",
        help="where a shard writes its manifest, relative to the rootdir (default: dogfood-shard-I-of-N.json)",
    )
    group.addoption("--dogfood-shard", metavar="I/N", help="run part I of N of the project, counted from 1")
    group.addoption(
        "--dogfood-provision",
        choices=("auto", "never"),
        help="whether a missing token may be brought about (default: auto)",
    )
    group.addoption(
        "--dogfood-blocked",
        action="append",
        metavar="TOKEN",
        help="declare a token that cannot be had at present: what requires it is deferred; may be repeated",
    )
    group.addoption(
        "--dogfood-keep", action="store_true", help="keep state and working directories after the run"
    )
    group.addoption(
        "--dogfood-actor",
        metavar="COMMAND",
        help="let this program decide what steps without a command need (ini dogfood_actor)",
    )
    group.addoption(
        "--dogfood-record", metavar="DIR", help="keep the commands that actors give, one file per journey"
    )
    group.addoption("--dogfood-replay", metavar="DIR", help="run recorded commands, without any actor")
    for option, text in CONSISTENCY.items():
        group.addoption(option, action="store_true", help=text)
    parser.addini("dogfood_hub", "URL of the hub, for --dogfood-consistency and the command dogfood")
    for name, (kind, default, text) in OPTIONS.items():
        parser.addini(name, text, type=kind, default=default)  # type: ignore[arg-type]
    if find_spec("pytest_dependency") is None or pluginmanager.is_blocked("dependency"):
        _add_options_of_pytest_dependency(parser)


def _add_options_of_pytest_dependency(parser: pytest.Parser) -> None:
    """Know the two options of a plugin that is not there, so that a suite written for it starts as it is."""
    parser.addini(
        "automark_dependency", "let tests depend on any test, marked or not", type="bool", default=False
    )
    parser.getgroup("dogfood").addoption(
        "--ignore-unknown-dependency",
        action="store_true",
        help="with dogfood_dependency_markers, ignore dependencies on tests that are not selected",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Leave no compiled conftest or test behind where nothing is to be written."""
    if early_config.known_args_namespace.dogfood_check:
        early_config.add_cleanup(partial(setattr, sys, "dont_write_bytecode", sys.dont_write_bytecode))
        sys.dont_write_bytecode = True
    if is_on(early_config, early_config.known_args_namespace) and goes_by_dependency_marks(early_config):
        from pytest_dogfood.collection.dependency_marks import stand_in

        stand_in(early_config)  # before conftest files import what it stands in for


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    if config.getoption("dogfood_check"):
        from pytest_dogfood.session.check_plugin import CacheWriteBlocker

        config.pluginmanager.register(CacheWriteBlocker(), "dogfood-writing-nothing")


def pytest_configure(config: pytest.Config) -> None:
    if any(config.getoption(option.removeprefix("--").replace("-", "_")) for option in CONSISTENCY):
        from pytest_dogfood.consistency.pytest_plugin import Consistency

        config.pluginmanager.register(Consistency(config), "dogfood-consistency")
    _refuse_what_only_a_check_does(config)
    if is_on(config, config.option):
        _declare_markers(config)
        from pytest_dogfood.registration import register_plugins

        register_plugins(config, read_settings(config))
        return
    _refuse_what_would_be_ignored(config)
    if has_opted_in(config):
        _declare_markers(config)
        from pytest_dogfood.session.off import AbsentFixtures, OffPlugin

        config.pluginmanager.register(OffPlugin(config), "dogfood-absence")
        config.pluginmanager.register(AbsentFixtures(), "dogfood-absent-fixtures")


def _refuse_what_would_be_ignored(config: pytest.Config) -> None:
    """Let nobody take the whole project for a shard of it, or what was never acted for a recording."""
    named = [path for path in map(_file_of, config.args) if path.endswith(JOURNEY_ENDINGS)]
    if named:
        from pytest_dogfood.session.off import NamedWhileOff

        config.pluginmanager.register(NamedWhileOff(named), "dogfood-forgotten")
    for option in ("shard", "record", "replay"):
        if config.getoption(f"dogfood_{option}") is not None:
            raise pytest.UsageError(
                f"--dogfood-{option} does nothing without --dogfood: add that, or `dogfood = true` to the ini file"
            )


def _refuse_what_only_a_check_does(config: pytest.Config) -> None:
    """Let nobody believe that a run was as strict as the check would have been."""
    if config.getoption("dogfood_check"):
        return
    for option, default in (("strict", False), ("format", "text"), ("workers", None)):
        if config.getoption(f"dogfood_{option}") != default:
            raise pytest.UsageError(
                f"--dogfood-{option} does nothing without --dogfood-check: add that, or leave it out"
            )


def _file_of(argument: str) -> str:
    return argument.partition("::")[0]


def is_on(config: pytest.Config, options: Namespace) -> bool:
    return bool(options.dogfood or options.dogfood_check or config.getini("dogfood"))


def goes_by_dependency_marks(config: pytest.Config) -> bool:
    return bool(config.getini("dogfood_dependency_markers"))


def has_opted_in(config: pytest.Config) -> bool:
    """Return whether the project is one of ours: an ini key of ours is set, or its rootdir holds a dogfood.yaml."""
    return (
        any(
            config.getini(name) != default for name, (_, default, _) in OPTIONS.items() if default is not None
        )
        or any(config.getini(name) for name, (_, default, _) in OPTIONS.items() if default is None)
        or (config.rootpath / "dogfood.yaml").is_file()
    )


def _declare_markers(config: pytest.Config) -> None:
    for prefix in ("", "dogfood_"):
        config.addinivalue_line(
            "markers", f"{prefix}requires(token, ...): run only where each of these tokens is present"
        )
        config.addinivalue_line(
            "markers", f"{prefix}establishes(token, ...): these tokens hold once the test has passed"
        )
    if goes_by_dependency_marks(config):
        config.addinivalue_line(
            "markers",
            "dependency(name=None, depends=[], scope='module'): run only if each of these tests has passed",
        )


def read_settings(config: pytest.Config) -> Settings:
    """Put options and ini values together, the command line first; raises UsageError for what cannot be meant."""
    from pytest_dogfood.settings import JOURNEY_FILES, CheckFormat, Provision, Settings, Shard

    def one(name: str) -> str | None:
        given = config.getoption(name, None)
        return config.getini(name) or None if given is None else given

    usual = Settings()
    shard, provision = one("dogfood_shard"), one("dogfood_provision") or "auto"
    try:
        return Settings(
            files=tuple(config.getini("dogfood_files") or JOURNEY_FILES),
            shard=None if shard is None else Shard.parse(shard, os.environ),
            manifest=config.getoption("dogfood_manifest"),
            provision=Provision(provision),
            blocked=tuple(config.getoption("dogfood_blocked") or config.getini("dogfood_blocked") or ()),
            keep=bool(config.getoption("dogfood_keep") or config.getini("dogfood_keep")),
            check=bool(config.getoption("dogfood_check")),
            check_format=CheckFormat(config.getoption("dogfood_format")),
            strict=bool(config.getoption("dogfood_strict")),
            secrets=tuple(config.getini("dogfood_secrets") or ()),
            min_measured=_number(config, "dogfood_min_measured", usual.min_measured),
            timeout=_number(config, "dogfood_timeout", usual.timeout),
            state_root=config.getini("dogfood_state_root") or None,
            dependency_markers=goes_by_dependency_marks(config),
            automark_dependency=_automark_dependency(config),
            ignore_unknown_dependency=bool(config.getoption("ignore_unknown_dependency", False)),
            actor=one("dogfood_actor") or None,
            actor_actions=_number(config, "dogfood_actor_actions", usual.actor_actions),
            actor_turns=_number(config, "dogfood_actor_turns", usual.actor_turns),
            actor_action_timeout=_number(config, "dogfood_actor_action_timeout", usual.actor_action_timeout),
            actor_answer_timeout=_number(config, "dogfood_actor_answer_timeout", usual.actor_answer_timeout),
            record=config.getoption("dogfood_record"),
            replay=config.getoption("dogfood_replay"),
        )
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


def _automark_dependency(config: pytest.Config) -> bool:
    try:
        return bool(config.getini("automark_dependency"))
    except ValueError:  # pytest-dependency is installed, but was not loaded, and so has not declared it
        return False


def _number(config: pytest.Config, name: str, usual: Number) -> Number:
    """Read a number of the kind that the usual one is; raises ValueError with words for the user."""
    text = config.getini(name)
    try:
        return type(usual)(text) if text else usual
    except ValueError:
        raise ValueError(f"{name} is a number, such as {usual}, not {text!r}") from None
