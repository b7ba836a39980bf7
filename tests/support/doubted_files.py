"""Writes simulated projects as real ones: journeys in YAML, scripts and Python tests, whose things are files."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from pytest_dogfood.journey import Journey, JourneyId
from tests.support.doubted_projects import Action, Project

FORMS = ("yaml", "script", "python")


def written(
    project: Project, root: Path, *, states: Path, seed: int, in_yaml: Collection[JourneyId | None] = ()
) -> Mapping[JourneyId, JourneyId]:
    """Write a project below a directory, each journey in one of the forms; return the ids that they have there.

    Journeys `in_yaml`, and those that invalidate tokens, are in YAML, with a step for each action.
    """
    dice = random.Random(seed)  # noqa: S311 - dice
    defined = dict.fromkeys([*project.probes, *project.providers, *sorted(project.copyable)])
    capabilities = {
        token: {
            **(
                {"probe": " && ".join(_checks(project.probes[token])) or "true"}
                if token in project.probes
                else {}
            ),
            **({"copyable": True} if token in project.copyable else {}),
            **({"provision": [_shell(project.providers[token])]} if token in project.providers else {}),
        }
        for token in defined
    }
    _write(root / "dogfood.yaml", json.dumps({"capabilities": capabilities}))
    _write(root / "pytest.ini", f"[pytest]\npython_files = *_test.py\ndogfood_state_root = {states}\n")
    ids: dict[JourneyId, JourneyId] = {}
    for number, journey in enumerate(project.journeys):
        form = dice.choice(FORMS)
        form = "yaml" if journey.invalidates or journey.id in in_yaml else form
        does = project.does[journey.id]
        name = f"{number:02}_{journey.id}"  # files are collected in the order of their names
        ids[journey.id] = journey.id
        if form == "yaml":
            content = {
                "id": journey.id,
                **_declared(journey),
                "steps": [{"run": _shell([one])} for one in does],
            }
            _write(root / f"{name}.journey.yaml", json.dumps({"journeys": [content]}, indent=2))
        elif form == "script":
            header = [f"# dogfood: {key}: {', '.join(tokens)}" for key, tokens in _declared(journey).items()]
            lines = ["#!/usr/bin/env bash", *header, "# dogfood: timeout: 60", "set -e", _shell(does), ""]
            _write(root / f"{name}.journey.sh", "\n".join(lines), executable=True)
            ids[journey.id] = JourneyId(name)
        else:
            _write(root / f"{name}_test.py", _as_test(journey, does))
            ids[journey.id] = JourneyId(f"{name}_test.py::test_it")
    return ids


def _write(path: Path, text: str, *, executable: bool = False) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755 if executable else 0o644)


def _declared(journey: Journey) -> dict[str, list[str]]:
    found = {key: [*getattr(journey, key)] for key in ("requires", "establishes", "invalidates")}
    return {key: tokens for key, tokens in found.items() if tokens}


def _checks(things: Iterable[str]) -> list[str]:
    return [f'test -e "$DOGFOOD_STATE/{thing}"' for thing in things]


def _shell(actions: Iterable[Action]) -> str:
    texts = {
        "need": 'test -e "$DOGFOOD_STATE/{0}" || {{ echo "no {0}"; exit 1; }}',
        "lack": 'test ! -e "$DOGFOOD_STATE/{0}" || {{ echo "{0} is there"; exit 1; }}',
        "write": 'touch "$DOGFOOD_STATE/{0}"',
        "delete": 'rm -f "$DOGFOOD_STATE/{0}"',
        "log": 'echo here >> "$DOGFOOD_STATE/{0}"',
        "toggle": 'if test -e "$DOGFOOD_STATE/{0}"; then rm "$DOGFOOD_STATE/{0}"; else touch "$DOGFOOD_STATE/{0}"; fi',
        "outside": 'mkdir -p "$DOGFOOD_ROOT/outside" && echo here >> "$DOGFOOD_ROOT/outside/{0}"',
    }
    return "\n".join(texts[what].format(thing) for what, thing in actions) or "true"


def _as_test(journey: Journey, actions: Iterable[Action]) -> str:
    texts = {
        "need": "assert (dogfood_state / {0!r}).exists()",
        "lack": "assert not (dogfood_state / {0!r}).exists()",
        "write": "(dogfood_state / {0!r}).touch()",
        "delete": "(dogfood_state / {0!r}).unlink(missing_ok=True)",
        "log": "(dogfood_state / {0!r}).touch()",
        "outside": "pass  # {0}",
    }
    marks = [
        f"@pytest.mark.{key}({', '.join(map(repr, tokens))})" for key, tokens in _declared(journey).items()
    ]
    body = [f"    {texts[what].format(thing)}" for what, thing in actions] or ["    pass"]
    return "\n".join(["import pytest", "", "", *marks, "def test_it(dogfood_state):", *body, ""])
