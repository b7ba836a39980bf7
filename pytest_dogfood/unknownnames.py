"""Why a name in a dependency mark means no test: the reason for people, and the name they may have meant."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import get_close_matches

from pytest_dogfood.collection.dependency_names import FAR, MarkedTest, Names
from pytest_dogfood.journey import Obstacle


def why_unknown(names: Names, test: MarkedTest, name: str) -> Obstacle:
    """Say that no test goes by a name where the mark of `test` looks for it, and what to do."""
    home = test.homes[test.scope] or "this run"
    near = next(_remedies(names, test, name), "")
    return Obstacle(
        code="unknown-dependency",
        who=repr(name),
        why=f"is no name of a test in {home} that carries a dependency mark{near and f'; {near}'}",
    )


def _remedies(names: Names, test: MarkedTest, name: str) -> Iterator[str]:
    """Give what may be wrong, the surest first."""
    if len(name) == 1 and len(test.depends) > 1 and all(len(one) == 1 for one in test.depends):
        yield f"'depends' is a list of names: write depends=[{''.join(test.depends)!r}]"
    here = [one for one in names.tests if one.homes.get(test.scope) == test.homes[test.scope]]
    counting = [one for one in here if one.counts]
    known = [one.name_in(test.scope) for one in counting]
    for one in here:
        if one.automatic_name(test.scope) == name:
            unmarked = "it is there, but has no mark: give it @pytest.mark.dependency()"
            yield f"its mark names it {one.name!r}" if one.counts else unmarked
    instances = [one for one in known if one.startswith(f"{name}[")]
    if instances:
        yield f"each of its {len(instances)} instances has a name of its own, such as {instances[0]!r}"
    yield from _in_another_scope(names, test, name)
    yield from (
        f"did you mean {one.name_in(test.scope)!r}?"
        for one in counting
        if one.automatic_name(test.scope).endswith(f"::{name}")
    )
    file = name.partition("::")[0]
    if "::" in name and test.scope in FAR and not any(one.id.startswith(f"{file}::") for one in names.tests):
        yield f"nothing of {file} was collected: if it is there, name it on the command line too"
    near = _nearest(name, known)
    if near:
        yield f"did you mean {near!r}?"


def _in_another_scope(names: Names, test: MarkedTest, name: str) -> Iterator[str]:
    for one in names.tests:
        if one.counts and name in {one.name_in(scope) for scope in one.homes}:
            if one.homes.get(test.scope) == test.homes[test.scope]:
                yield f"did you mean {one.name_in(test.scope)!r}?"
            else:
                yield f"did you mean {one.name_in('session')!r} with scope='session'?"


def _nearest(name: str, known: Collection[str]) -> str:
    """Give the nearest name; that both begin with `test_` makes them no nearer."""
    stems = {one.removeprefix("test_"): one for one in sorted(known, reverse=True)}
    near = get_close_matches(name.removeprefix("test_"), stems, n=1) or get_close_matches(
        name, known, n=1, cutoff=0.85
    )
    return stems.get(near[0], near[0]) if near else ""
