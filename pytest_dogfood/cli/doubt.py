"""`dogfood doubt`: tests the declarations of a project by running it in other ways."""

from __future__ import annotations

import os
import re
import time
from argparse import ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_dogfood.cli.console import Argument, complain, say, signals_as_interrupts, write_lines
from pytest_dogfood.cli.journeys import OK, USAGE
from pytest_dogfood.cli.states import COMMANDS
from pytest_dogfood.diagnostics import HarnessError, counted, seconds_in_words

if TYPE_CHECKING:
    from pytest_dogfood.doubt.driver import Campaign, Target
    from pytest_dogfood.doubt.experiments.values import Experiment
    from pytest_dogfood.doubt.findings import Results
    from pytest_dogfood.graph import CapabilityGraph
    from pytest_dogfood.journey import ChainId
    from pytest_dogfood.session.check_plugin import Inspection

__all__ = ["COMMANDS"]

_FOUND, _NOTHING, _INTERRUPTED = 1, 5, 130
_PER_UNIT = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration(text: str) -> float:
    """Return the seconds of a duration that was typed, such as 90s or 10m; raises ArgumentTypeError."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([smhd]?)", text.strip(), re.ASCII)
    if found is None:
        raise ArgumentTypeError(f"expected a duration such as 90s, 10m or 2h, not {text!r}")
    return float(found[1]) * _PER_UNIT[found[2]]


def workers(text: str) -> str:
    """Return a number of workers as pytest-xdist takes it; raises ArgumentTypeError."""
    if text not in {"auto", "logical"} and not text.isdecimal():
        raise ArgumentTypeError(f"expected a number of workers, or auto, not {text!r}")
    return text


@COMMANDS.command(
    "doubt",
    "test the declarations by running",
    Argument("-n", dest="workers", type=workers, metavar="N", help="workers, as pytest -n"),
    Argument(
        "--budget", type=duration, metavar="TIME", help="begin nothing that would not end in time: 90s, 10m"
    ),
    Argument("--thorough", action="store_true", help="try more orders, and journeys that end half-way"),
    Argument("--junit", metavar="FILE", help="write a JUnit report"),
    Argument(
        "--patch",
        metavar="FILE",
        help="write the lines to add there (default: doubt.patch, if there are any)",
    ),
    Argument(
        "--record",
        metavar="FILE",
        help="what was tried, to be continued (default: .pytest_cache/d/dogfood-doubt.json)",
    ),
    Argument("words", nargs="*", default=(), metavar="-- ARGUMENTS", help="arguments for pytest"),
    description="Run the project several times in other orders and with providers in place of journeys, find "
    "declarations that do not hold, prove each by two runs, and write the lines to add. -k, -m and node ids behind -- "
    "choose the journeys whose declarations are tested. What journeys do outside of their state is repeated too. "
    "Exit status: 0 nothing found, 1 findings or a red ordinary run, 4 invalid project or usage, 5 no chain tokens, "
    "130 interrupted.",
)
def doubt(options: Namespace) -> int:
    arguments = (*options.words, *options.rest)
    refused = next((one for one in arguments if one.partition("=")[0] in _REFUSED), "")
    if refused:
        complain(f"dogfood doubt: {refused} cannot be combined with this command: leave it out")
        return USAGE
    try:
        return _doubt(options, arguments)
    except HarnessError as error:
        complain(f"dogfood doubt: {error}")
        return USAGE


_REFUSED = {
    "-h",
    "--help",
    "-V",
    "--version",
    "--markers",
    "--fixtures",
    "--funcargs",
    "--fixtures-per-test",
    "--cache-show",
    "--co",
    "--collect-only",
    "--collectonly",
    "--setup-plan",
    "--setup-only",
    "--pdb",
    "--trace",
    "--junitxml",
    "--junit-xml",
    "--basetemp",
    "--dogfood-blocked",
    "--dogfood-check",
    "--dogfood-fleet",
    "--dogfood-keep",
    "--dogfood-manifest",
    "--dogfood-plan",
    "--dogfood-record",
    "--dogfood-report",
}
"""Options that say what else a single run does; among a project's `addopts` they are left out."""


def _doubt(options: Namespace, arguments: Sequence[str]) -> int:
    from pytest_dogfood.doubt.driver import Campaign
    from pytest_dogfood.doubt.record import read_record, write_record

    started = time.monotonic()
    found = _inspect(arguments)
    target = _target(found, options, arguments)
    if target is None:
        return found.status or USAGE
    if not target.tested:
        complain(
            "dogfood doubt: no chain tokens: no journey requires or establishes one, so nothing can be wrong"
        )
        return _NOTHING
    record_path = Path(options.record) if options.record else found.cache / "d" / "dogfood-doubt.json"
    patch = Path(options.patch or "doubt.patch")
    _require_writable(record_path, patch, *([Path(options.junit)] if options.junit else []))
    record, warning = read_record(record_path)
    if warning:
        complain(f"dogfood doubt: warning: {warning}")
    if not options.record:
        _make_cache(found.cache)
    campaign = Campaign(target, record, record_path, _told)
    write_lines(_forecast(target, campaign))
    interrupted = False
    with signals_as_interrupts():
        try:
            campaign.run(deadline=None if options.budget is None else started + options.budget)
        except KeyboardInterrupt:
            interrupted = True
            complain("dogfood doubt: interrupted; this is what was proved so far")
        write_record(record_path, record)
        return _report(options, target, campaign, patch, time.monotonic() - started, interrupted=interrupted)


def _inspect(arguments: Sequence[str]) -> Inspection:
    from pytest_dogfood.session.check_plugin import inspect

    return inspect(given=arguments, with_tests=True)


def _target(found: Inspection, options: Namespace, arguments: Sequence[str]) -> Target | None:
    """Return what is examined; None, after a message, if the project is not valid."""
    from pytest_dogfood.check.report import to_lines
    from pytest_dogfood.doubt.driver import Target
    from pytest_dogfood.settings import Provision
    from pytest_dogfood.storage.retention import default_root

    if found.report is None or found.selection is None:
        return None
    if not found.report.is_valid:
        complain(*to_lines(found.report))
        return None
    if found.settings.provision is Provision.NEVER:
        raise HarnessError(
            "tokens are never provisioned in this project, so no provider can be tested: "
            "add -- --dogfood-provision auto"
        )
    graph, plan = found.selection.graph, found.selection.plan
    tested = tuple(
        one.id
        for one in plan.journeys
        if not one.prerequisite and graph.chain_tokens_of(graph.journeys[one.id])
    )
    return Target(
        graph=graph,
        rootdir=found.rootdir,
        state_root=found.state_root or default_root(),
        tested=tested,
        arguments=tuple(_without_shard(one for one in arguments if one not in found.named)),
        workers=options.workers or "",
        seconds=found.seconds,
        thorough=options.thorough,
        left_out=_chains_with_actors(graph, has_recordings=found.settings.replay is not None),
    )


def _chains_with_actors(graph: CapabilityGraph, *, has_recordings: bool) -> dict[ChainId, str]:
    """Return the chains in which an actor would do something else in each run, and why they are left out."""
    return {
        graph.chains[one.id]: (
            f"{one.id} needs an actor, which may do something else in each run"
            + ("" if one.is_gui else ": add -- --dogfood-replay with its recordings")
        )
        for one in graph.journeys.values()
        if one.needs_actor and not graph.lacks_actor(one.id) and (one.is_gui or not has_recordings)
    }


def _make_cache(cache: Path) -> None:
    """Make the directory of pytest's cache, if it is not there yet, so that git ignores it as if pytest had made it."""
    try:
        cache.mkdir(parents=True)
        (cache / ".gitignore").write_text("# Created by pytest-dogfood.\n*\n", encoding="utf-8")
    except FileExistsError:
        pass
    except OSError as error:
        raise HarnessError(f"cannot make {cache}: {error.strerror}") from error


def _without_shard(arguments: Iterable[str]) -> Iterator[str]:
    """Yield arguments without the shard, which has chosen the journeys already."""
    words = iter(arguments)
    for word in words:
        if word == "--dogfood-shard":
            next(words, None)
        elif not word.startswith("--dogfood-shard="):
            yield word


def _require_writable(record: Path, *others: Path) -> None:
    """Raise HarnessError if a file cannot be written, before hours have gone by."""
    for path in (record, *others):
        parent = path.absolute().parent
        while path == record and not parent.exists():  # its directories are made
            parent = parent.parent
        if path.is_dir() or not os.access(path if path.exists() else parent, os.W_OK):
            raise HarnessError(f"cannot write {path}: choose another place, or make it writable")


def _forecast(target: Target, campaign: Campaign) -> Iterator[str]:
    known = [target.seconds[one] for one in target.tested if one in target.seconds]
    about = "" if sum(known) < 0.1 else "about "
    once = f", an ordinary run takes {about}{seconds_in_words(sum(known))} of steps" if known else ""
    chains = counted(len(campaign.examinations), "chain")
    yield (
        f"dogfood doubt: {counted(len(target.tested), 'journey')} in {chains}{once}; each runs 3 to 5 times, "
        "behind a finding more often"
    )
    yield "What journeys do outside of their state is repeated too."
    if campaign.resumed():
        yield f"not repeated: {counted(campaign.resumed(), 'experiment')} of the record"


def _told(number: int, experiments: Sequence[Experiment]) -> None:
    journeys = sum(len(one.order) for one in experiments)
    what = (
        f"{counted(journeys, 'journey')} of {counted(len(experiments), 'chain')}" if journeys else "ordinary"
    )
    complain(f"run {number}: {what}")


def _report(
    options: Namespace,
    target: Target,
    campaign: Campaign,
    patch: Path,
    seconds: float,
    *,
    interrupted: bool,
) -> int:
    from pytest_dogfood.doubt.findings import to_junit, to_lines, workflow_commands

    results = _results(target, campaign, "it was interrupted" if interrupted else "the time was not enough")
    write_lines(to_lines(results))
    text = results.edit.patch()
    if text:
        _write(patch, text)
        here = "" if Path.cwd() == target.rootdir else f" -C {target.rootdir}"
        say(f"git{here} apply {patch if not here else patch.absolute()}")
    elif options.patch:
        _write(patch, "")
    chains = Counter(target.graph.chains[one] for one in target.tested)
    if options.junit:
        _write(Path(options.junit), to_junit(results, chains, seconds))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        write_lines(workflow_commands(results, _prefix(target.rootdir)))
    say(_closing_line(target, campaign, results, seconds))
    if interrupted:
        return _INTERRUPTED
    is_red = any(one.is_red for one in campaign.examinations)
    return _FOUND if results.counting or is_red else OK


def _results(target: Target, campaign: Campaign, unfinished: str) -> Results:
    from pytest_dogfood.doubt.edits import edit_for
    from pytest_dogfood.doubt.findings import Results, merged, without_exempt
    from pytest_dogfood.no_doubt import NO_DOUBT, read_no_doubt

    graph, left_out, tested = target.graph, target.left_out, dict.fromkeys(target.tested)
    found = [
        finding
        for one in campaign.examinations
        for finding in one.findings
        if not finding.journey or finding.journey in tested
    ]
    exempt = {
        one: read_no_doubt(mark)
        for one in target.tested
        for mark in target.graph.journeys[one].marks
        if mark.name == NO_DOUBT
    }
    findings, ignored, unused = without_exempt(merged(found, target.graph), exempt, target.graph)
    untested: Mapping[ChainId, str] = {
        **{graph.chains[one]: left_out[graph.chains[one]] for one in tested if graph.chains[one] in left_out},
        **{
            one.chain: one.untested or _not_reached(unfinished, one.suspected)
            for one in campaign.examinations
            if one.untested or not one.is_done
        },
    }
    return Results(
        graph=target.graph,
        findings=findings,
        unclear=[one for examination in campaign.examinations for one in examination.unclear],
        untested=untested,
        ignored=ignored,
        unused=unused,
        edit=edit_for([line for one in findings for line in one.lines], target.graph, target.rootdir),
    )


def _not_reached(why: str, suspected: str | None) -> str:
    return (
        why if suspected is None else f"{why}: {suspected} is suspected, and the next command goes on there"
    )


def _closing_line(target: Target, campaign: Campaign, results: Results, seconds: float) -> str:
    graph = target.graph
    tokens = {token for one in target.tested for token in graph.chain_tokens_of(graph.journeys[one])}
    untested = sum(graph.chains[one] in results.untested for one in target.tested)
    hints = len(results.findings) - len(results.counting)
    parts = [counted(len(results.counting), "finding")]
    parts += [counted(hints, "hint")] if hints else []
    parts += [f"{len(results.unclear)} unclear", f"{untested} not tested"]
    took = seconds_in_words(seconds) if seconds < 120 else f"{seconds / 60:.0f} min"
    return (
        f"doubt: {counted(len(target.tested), 'journey')}, {counted(len(tokens), 'token')}: {', '.join(parts)}; "
        f"{counted(campaign.experiments, 'experiment')} in {took}"
    )


def _write(path: Path, text: str) -> None:
    try:
        path.write_bytes(text.encode())
    except OSError as error:
        raise HarnessError(f"cannot write {path}: {error.strerror}") from error


def _prefix(rootdir: Path) -> str:
    """Return the way from the root of the repository, as GitHub names it, to the project."""
    workspace = os.environ.get("GITHUB_WORKSPACE", "")
    if workspace and rootdir.is_relative_to(workspace):
        return rootdir.relative_to(workspace).as_posix()
    return ""
