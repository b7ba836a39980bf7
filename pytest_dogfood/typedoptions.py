"""Which options a command needs to do again what this run has done: those that change what one journey comes to."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

ORDER_AND_REPORT = frozenset(
    {
        "cacheprovider",
        "hypothesispytest",
        "pytest_cov",
        "randomly",
        "random_order",
        "rerunfailures",
        "timeout",
    }
)
"""Plugins that order, repeat, limit or report tests: whether they are left out changes no step of a journey."""

PLACE_AND_LOOK = frozenset({"cache_dir", "console_output_style", "dogfood_keep", "dogfood_state_root"})
"""Ini keys that say where things are kept and how a run looks."""


def options_that_matter(typed: Sequence[str], configured: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the options among those `typed` that change what a journey comes to, as words of a command.

    `configured` are the options that the project gives to each run: a selection among them is undone, since what was
    run may be none of it.
    """
    known = _parse(typed)
    words: list[str] = []
    for option, value in (
        ("-c", known.c),
        ("--rootdir", known.rootdir),
        ("--confcutdir", known.confcutdir),
        ("--import-mode", known.import_mode),
        ("--dogfood-provision", known.dogfood_provision),
    ):
        words += [option, value] if value is not None else []
    words += ["--noconftest"] if known.noconftest else []
    for name in known.p:
        words += ["-p", name] if name.removeprefix("no:") not in ORDER_AND_REPORT or name[:3] != "no:" else []
    for setting in known.o:
        words += ["-o", setting] if setting.partition("=")[0] not in PLACE_AND_LOOK else []
    selecting = _parse(configured)
    words += ["-m", ""] if selecting.m else []
    words += ["-k", ""] if selecting.k else []
    return tuple(words)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the options that are known here, as pytest reads them, and pass over all others.

    Where a plugin reads them in another way than pytest, nothing is known.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-c", "--config-file", dest="c")
    for option in ("--rootdir", "--confcutdir", "--import-mode", "--dogfood-provision"):
        parser.add_argument(option)
    parser.add_argument("--noconftest", action="store_true")
    parser.add_argument("-p", action="append", default=[])
    parser.add_argument("-o", "--override-ini", dest="o", action="append", default=[])
    for option in ("-m", "-k", "-n", "-r", "-W"):  # their values are no options, whatever they look like
        parser.add_argument(option)
    for option in ("-x", "-v", "-q", "-s", "-l"):  # which may stand before others in one word: -xvp name
        parser.add_argument(option, action="count")
    try:
        return parser.parse_known_args(list(words))[0]
    except argparse.ArgumentError:
        return parser.parse_args([])
