"""Which checkouts a command is about."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path

from msgspec import Struct

from pytest_dogfood.consistency.checkout_view import RepoReport
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.consistency.repository_findings import RepoCondition, RepoState, repo_finding
from pytest_dogfood.hub.entries import Checkout
from pytest_dogfood.hub.errors import HubUsageError


class Choice(Struct, frozen=True, kw_only=True):
    """Checkouts on this machine, and the repositories that have none here. `named` were named by the user."""

    checkouts: tuple[Checkout, ...]
    absent: tuple[str, ...] = ()
    named: frozenset[str] = frozenset()

    def reports_of_absent(self, *, fixing: bool) -> tuple[RepoReport, ...]:
        """Give the reports of what cannot be looked at here."""
        nowhere = RepoCondition(state=RepoState.NOT_HERE)
        found = (
            (slug, repo_finding(nowhere, slug, fixing=fixing, named=slug in self.named))
            for slug in self.absent
        )
        return tuple(RepoReport(repo=slug, findings=(finding,)) for slug, finding in found if finding)


def choose(
    hub: Hub, machine_id: str, *, slugs: Sequence[str] = (), every: bool = False, here: Path | None = None
) -> Choice:
    """Choose by slugs, everything, or else the checkout that holds the working directory `here`.

    Of a repository that is named, the checkout that holds `here` counts, or else all of them on this machine.
    Raises HubUsageError for a repository that is not known, and where there is nothing to choose.
    """
    now = (here or Path.cwd()).resolve()
    for slug in slugs:
        hub.require_repo(slug)
    local = hub.checkouts(machine_id) if machine_id else ()
    if every or slugs:
        wanted = [repo.slug for repo in hub.repos()] if every else list(dict.fromkeys(slugs))
        chosen = [each for slug in wanted for each in _of(local, slug, now, nearest=not every)]
        present = {each.repo for each in chosen}
        return Choice(
            checkouts=tuple(chosen),
            absent=tuple(slug for slug in wanted if slug not in present),
            named=frozenset(slugs),
        )
    found = around(local, now)
    if not found:
        if foreign := _foreign_tree(local, now):
            raise HubUsageError(f"{foreign}, or name a repository with --repo")
        raise HubUsageError(
            f"{now} is in no checkout that the hub knows on this machine; name a repository with --repo, "
            "take --all, or register this one: dogfood hub register PATH"
        )
    return Choice(checkouts=(found[-1],))


def only_checkout(hub: Hub, machine_id: str, repo: str, *, here: Path | None = None) -> Checkout:
    """Give the one checkout of a repository that a deliberate move is about."""
    now = (here or Path.cwd()).resolve()
    found = choose(hub, machine_id, slugs=[repo], here=now).checkouts
    if not found:
        raise HubUsageError(f"'{repo}' has no path on this machine; register it, or use --hub-only")
    if not around(found, now) and (foreign := _foreign_tree(found, now)):
        # Whoever is in it means its files, not those of the checkout around it.
        raise HubUsageError(foreign)
    if len(found) > 1:
        paths = ", ".join(each.path for each in found)
        raise HubUsageError(f"'{repo}' is checked out several times ({paths}); run this inside one of them")
    return found[0]


def around(checkouts: Iterable[Checkout], now: Path) -> list[Checkout]:
    """Give those that hold a directory, the innermost last.

    A work tree inside a checkout is none of its directories, be it linked, a submodule or another repository.
    """
    return [each for each in _above(checkouts, now) if _work_tree_between(Path(each.path), now) is None]


def _of(local: Iterable[Checkout], slug: str, now: Path, *, nearest: bool) -> list[Checkout]:
    of_slug = [each for each in local if each.repo == slug]
    found = around(of_slug, now) if nearest else []
    return found[-1:] or of_slug


def _above(checkouts: Iterable[Checkout], now: Path) -> list[Checkout]:
    return sorted(
        (each for each in checkouts if now.is_relative_to(each.path)), key=lambda each: len(each.path)
    )


def _work_tree_between(outer: Path, now: Path) -> Path | None:
    """Give the innermost work tree that holds `now` and lies inside `outer`; None if there is none."""
    within = takewhile(lambda each: each != outer, (now, *now.parents))
    return next((each for each in within if os.path.lexists(each / ".git")), None)


def _foreign_tree(checkouts: Iterable[Checkout], now: Path) -> str:
    """Say that `now` is in a work tree inside one of these that is none of them; empty where it is not."""
    for each in reversed(_above(checkouts, now)):
        if tree := _work_tree_between(Path(each.path), now):
            return (
                f"{tree} is a work tree of its own inside {each.path}, and not known to the hub on this machine; "
                f"register it: dogfood hub register {shlex.quote(str(tree))}"
            )
    return ""
