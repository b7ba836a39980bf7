"""Chooses the checkouts that a command means, recognises new ones, and writes the protocol file into them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterable, Sequence
from itertools import takewhile
from pathlib import Path

from msgspec import Struct

from pytest_dogfood.consistency.check import RepoReport
from pytest_dogfood.consistency.hub.model import Checkout, HubUsageError, Repo
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.consistency.repository_findings import repo_finding
from pytest_dogfood.git.work_tree import RepoCondition, RepoState

PLACE = Path("docs", "session-close.md")

TEMPLATE = Path(__file__).with_name("session-close.md")


def write_protocol(root: Path, slug: str) -> Path | None:
    """Write the protocol into a repository; return None, and change nothing, if the file exists already."""
    path = root / PLACE
    text = TEMPLATE.read_text(encoding="utf-8").format(slug=slug)
    try:
        if not path.parent.resolve().is_relative_to(root.resolve()):
            raise HubUsageError(f"{path.parent} is outside the repository; the protocol was not written")
        path.parent.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return None
    except OSError as error:
        raise HubUsageError(f"cannot write {path}: {error.strerror}") from error
    return path


class NewCheckout(Struct, frozen=True, kw_only=True):
    """A directory to register.

    `roots` are the first commits of its history, as far as git knows them; `trees` are all work trees, itself
    included, that share its repository.
    """

    path: Path
    roots: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()

    def root_as(self, repo: Repo | None) -> str:
        """Return the first commit: the one that identifies the repository, if this history has it."""
        known = repo.root_commit if repo is not None else ""
        return known if known in self.roots else next(iter(self.roots), "")


def guess_repository(
    new_checkout: NewCheckout, repos: Iterable[Repo], here: Collection[Checkout], gone: Collection[str]
) -> str:
    """Return the name of the repository if it is known, else that of the directory.

    `here` are this machine's checkouts, and `gone` those of their paths that no longer exist. Raises HubUsageError
    if only the user can tell: a second name for one repository would double all its tasks.
    """
    known = {repo.slug: repo for repo in repos}
    for checkout in here:
        if checkout.path == str(new_checkout.path) or checkout.path in new_checkout.trees:
            return checkout.repo
    name = new_checkout.path.name
    left = list(dict.fromkeys(checkout.repo for checkout in here if checkout.path in gone))
    alike = [slug for slug, repo in known.items() if repo.root_commit in new_checkout.roots]
    if name in alike:
        return name
    if len(alike) == 1 and alike[0] in left:
        return alike[0]
    if alike:
        raise _question(new_checkout, alike, "begins with the same commit as")
    unsure = [slug for slug in left if not new_checkout.roots or not known[slug].root_commit]
    if name not in known and unsure:
        raise _question(new_checkout, unsure, "has no first commit to identify it, and may be")
    return name


def _question(new_checkout: NewCheckout, slugs: Iterable[str], what: str) -> HubUsageError:
    names = " or ".join(f"'{slug}'" for slug in slugs)
    ways = ", ".join(f"--slug {shlex.quote(slug)}" for slug in slugs)
    own = shlex.quote(new_checkout.path.name)
    return HubUsageError(
        f"{new_checkout.path} {what} {names}; if it is a checkout of that repository, add {ways}; "
        f"if it is a different repository, add --slug {own}"
    )


class Choice(Struct, frozen=True, kw_only=True):
    """Checkouts on this machine, and the repositories that have none here. `named` were named by the user."""

    checkouts: tuple[Checkout, ...]
    absent: tuple[str, ...] = ()
    named: frozenset[str] = frozenset()

    def reports_of_absent(self, *, fixing: bool) -> tuple[RepoReport, ...]:
        """Return the reports of the repositories that have no checkout here."""
        nowhere = RepoCondition(state=RepoState.NOT_HERE)
        found = {
            slug: repo_finding(nowhere, slug, fixing=fixing, named=slug in self.named) for slug in self.absent
        }
        return tuple(RepoReport(repo=slug, findings=(each,) if each else ()) for slug, each in found.items())


def choose(
    hub: Hub, machine_id: str, *, slugs: Sequence[str] = (), every: bool = False, here: Path | None = None
) -> Choice:
    """Choose checkouts by slugs, all of them, or else the one that contains the working directory `here`.

    For a named repository, the checkout that contains `here` is chosen, or else all on this machine. Raises
    HubUsageError for an unknown repository, and if there is nothing to choose.
    """
    now = (here or Path.cwd()).resolve()
    for slug in slugs:
        hub.require_repo(slug)
    local = hub.checkouts(machine_id)
    if every or slugs:
        wanted = [repo.slug for repo in hub.repos()] if every else list(dict.fromkeys(slugs))
        chosen: list[Checkout] = []
        absent: list[str] = []
        for slug in wanted:
            of_slug = [each for each in local if each.repo == slug]
            chosen += (around(of_slug, now)[-1:] if not every else []) or of_slug
            if not of_slug:
                absent.append(slug)
        return Choice(checkouts=tuple(chosen), absent=tuple(absent), named=frozenset(slugs))
    found = around(local, now)
    if not found:
        if foreign := _foreign_tree(local, now):
            raise HubUsageError(f"{foreign}, or name a repository with --repo")
        raise HubUsageError(
            f"{now} is not in a checkout that is registered on this machine; name a repository with --repo, "
            "use --all, or register this one: dogfood hub register PATH"
        )
    return Choice(checkouts=(found[-1],))


def only_checkout(hub: Hub, machine_id: str, repo: str, *, here: Path | None = None) -> Checkout:
    """Return the only checkout of a repository, for a deliberate move."""
    now = (here or Path.cwd()).resolve()
    found = choose(hub, machine_id, slugs=[repo], here=now).checkouts
    if not found:
        raise HubUsageError(f"'{repo}' has no path on this machine; register it, or use --hub-only")
    if not around(found, now) and (foreign := _foreign_tree(found, now)):
        # A command that is typed in it means its files, not those of the checkout around it.
        raise HubUsageError(foreign)
    if len(found) > 1:
        paths = ", ".join(each.path for each in found)
        raise HubUsageError(f"'{repo}' is checked out several times ({paths}); run this inside one of them")
    return found[0]


def around(checkouts: Iterable[Checkout], now: Path) -> list[Checkout]:
    """Return those that contain a directory, the innermost last.

    A linked work tree, a submodule or another repository inside a checkout does not belong to it.
    """
    return [each for each in _above(checkouts, now) if _work_tree_between(Path(each.path), now) is None]


def _above(checkouts: Iterable[Checkout], now: Path) -> list[Checkout]:
    return sorted(
        (each for each in checkouts if now.is_relative_to(each.path)), key=lambda each: len(each.path)
    )


def _work_tree_between(outer: Path, now: Path) -> Path | None:
    """Return the innermost work tree that contains `now` and lies inside `outer`; None if there is none."""
    within = takewhile(lambda each: each != outer, (now, *now.parents))
    return next((each for each in within if os.path.lexists(each / ".git")), None)


def _foreign_tree(checkouts: Iterable[Checkout], now: Path) -> str:
    """Return an error if `now` is in a separate work tree inside one of these checkouts; else the empty string."""
    for each in reversed(_above(checkouts, now)):
        if tree := _work_tree_between(Path(each.path), now):
            return (
                f"{tree} is a separate work tree inside {each.path}, and is not registered on this machine; "
                f"register it: dogfood hub register {shlex.quote(str(tree))}"
            )
    return ""
