"""Which repository a directory holds whose name nobody has said: a known one that was moved, or a new one."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable
from pathlib import Path

from msgspec import Struct

from pytest_dogfood.hub.entries import Checkout, Repo
from pytest_dogfood.hub.errors import HubUsageError


class Newcomer(Struct, frozen=True, kw_only=True):
    """A directory that is to be registered.

    `roots` are the first commits of its history, as far as git knows them; `trees` are all work trees, itself
    included, that share its repository.
    """

    path: Path
    roots: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()

    def root_as(self, repo: Repo | None) -> str:
        """Give the first commit: the one that the repository is known by, if this history has it."""
        known = repo.root_commit if repo is not None else ""
        return known if known in self.roots else next(iter(self.roots), "")


def recognised(
    newcomer: Newcomer, repos: Iterable[Repo], here: Collection[Checkout], gone: Collection[str]
) -> str:
    """Give the name of the repository: of one that is known, or of the directory, for a new one.

    `here` are this machine's checkouts, and `gone` those of their paths at which there is nothing any more. Raises
    HubUsageError where only the user can tell: a second name for one repository would double all its tasks.
    """
    known = {repo.slug: repo for repo in repos}
    for checkout in here:
        if checkout.path == str(newcomer.path) or checkout.path in newcomer.trees:
            return checkout.repo
    name = newcomer.path.name
    left = list(dict.fromkeys(checkout.repo for checkout in here if checkout.path in gone))
    alike = [slug for slug, repo in known.items() if repo.root_commit in newcomer.roots]
    if name in alike:
        return name
    if len(alike) == 1 and alike[0] in left:
        return alike[0]
    if alike:
        raise _question(newcomer, alike, "begins with the same commit as")
    unsure = [slug for slug in left if not newcomer.roots or not known[slug].root_commit]
    if name not in known and unsure:
        raise _question(newcomer, unsure, "has no first commit to know it by, and may be")
    return name


def _question(newcomer: Newcomer, slugs: Iterable[str], what: str) -> HubUsageError:
    names = " or ".join(f"'{slug}'" for slug in slugs)
    ways = ", ".join(f"--slug {shlex.quote(slug)}" for slug in slugs)
    own = shlex.quote(newcomer.path.name)
    return HubUsageError(
        f"{newcomer.path} {what} {names}; if it is a checkout of that, say {ways}, "
        f"and if it is a repository of its own, --slug {own}"
    )
