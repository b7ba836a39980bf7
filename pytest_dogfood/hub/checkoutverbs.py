"""The verbs of `dogfood hub` that are about checkouts; each prints its result, or raises HubError."""

from __future__ import annotations

import os
import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from pytest_dogfood.consistency.checkouts import around
from pytest_dogfood.diagnostics import HarnessError, did_you_mean
from pytest_dogfood.git.repository import Repository
from pytest_dogfood.hub.entries import Checkout
from pytest_dogfood.hub.errors import HubUsageError, RefusedError
from pytest_dogfood.hub.machine import this_machine
from pytest_dogfood.hub.opening import open_hub
from pytest_dogfood.hub.printing import print_table, say, write_json, write_lines
from pytest_dogfood.hub.protocol import PLACE, write_protocol
from pytest_dogfood.hub.recognising import Newcomer, recognised


def register(options: Namespace) -> int:
    """Record a checkout, and write the protocol into it if asked to."""
    newcomer, why_not = _checkout_at(Path(options.path))
    root = newcomer.path
    with open_hub(options.hub, repository=root) as hub:
        machine = this_machine()
        here = hub.checkouts(machine.id)
        gone = {each.path for each in here if not os.path.lexists(each.path)}
        slug = _name(options.slug or recognised(newcomer, hub.repos(), here, gone))
        root_commit = newcomer.root_as(next(iter(hub.repos(slug)), None))
        made = hub.register(root, slug=slug, root_commit=root_commit, machine=machine)
    said = [f"{made.repo} is at {made.path}"]
    said += [
        f"nothing is at {each.path} any more; if it went here: dogfood hub forget {shlex.quote(each.path)}"
        for each in here
        if each.repo == slug and each.path in gone
    ]
    if why_not:
        said.append(f"its workplans are read, but never written: {why_not}")
    try:
        if options.protocol:
            written = write_protocol(root, slug)
            there = f"{root / PLACE} is there already and was left as it is"
            said.append(f"wrote {written}" if written else there)
    finally:
        write_lines(said)
    return 0


def _name(slug: str) -> str:
    if not slug.strip() or any(letter.isspace() or letter == "/" for letter in slug):
        raise HubUsageError(
            f"{slug!r} is no name for a repository: no spaces, no slashes; give one with --slug"
        )
    return slug


def _checkout_at(path: Path) -> tuple[Newcomer, str]:
    """Give the work tree with what git knows of its history, and why git knows nothing."""
    try:
        resolved = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise HubUsageError(f"there is no directory {path}") from error
    if not resolved.is_dir():
        raise HubUsageError(f"{path} is no directory; name the one that holds the checkout")
    repository = Repository(resolved)
    try:
        top = repository.place.top
        return Newcomer(path=top, roots=repository.root_commits(), trees=repository.work_trees()), ""
    except HarnessError as error:
        return Newcomer(path=resolved), str(error)


def forget(options: Namespace) -> int:
    """Forget a checkout that is no more."""
    path = Path(options.path).absolute()
    with open_hub(options.hub) as hub:
        machine = this_machine()
        known = {each.path: each.repo for each in hub.checkouts(machine.id)}
        # As it was registered: links resolved, which cannot be done any more where the directory is gone.
        named = next((place for place in (str(path), str(path.resolve())) if place in known), None)
        if named is None:
            hint = did_you_mean(str(path), known) or "see them all: dogfood hub repos"
            raise HubUsageError(f"no checkout at {path} is registered on this machine; {hint}")
        hub.forget(Path(named), machine)
    say(f"{known[named]} is no longer at {named}; its tasks and their log stay")
    return 0


def repos(options: Namespace) -> int:
    """List repositories with their paths on this machine, or only the paths."""
    with open_hub(options.hub, readonly=True) as hub:
        if options.slug is not None:
            hub.require_repo(options.slug)
        wanted = hub.repos(options.slug)
        machine = this_machine(create=False)
        here = hub.checkouts(machine.id, repo=options.slug) if machine.id else ()
    if options.path:
        return _print_paths(here, options.slug)
    if options.format == "json":
        listed = [
            {
                "slug": repo.slug,
                "root_commit": repo.root_commit,
                "paths": [each.path for each in here if each.repo == repo.slug],
            }
            for repo in wanted
        ]
        write_json(repos=listed)
        return 0
    rows = [
        (repo.slug, path)
        for repo in wanted
        for path in [each.path for each in here if each.repo == repo.slug] or ["(not on this machine)"]
    ]
    print_table(rows, nothing="the hub has no repositories; add one: dogfood hub register PATH")
    return 0


def _print_paths(here: Sequence[Checkout], slug: str | None) -> int:
    """Print the checkout around the working directory, or else all of them."""
    found = around(here, Path.cwd().resolve()) if slug is not None else []
    chosen = found[-1:] or here
    write_lines(each.path for each in chosen)
    if slug is not None and not chosen:
        raise RefusedError(
            f"'{slug}' has no path on this machine; add it: dogfood hub register PATH --slug {slug}"
        )
    return 0
