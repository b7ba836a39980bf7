"""Reads the dogfood.yaml of a repository; what would be overlooked in it is said, with its place."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pytest_dogfood.diagnostics import did_you_mean
from pytest_dogfood.hub.errors import HubUsageError

PROJECT_FILE = "dogfood.yaml"
KEYS = ("defaults", "capabilities", "hub", "consistency")
"""What it may hold; the first two are for journeys."""

_OURS = frozenset({"hub", "consistency"})
_OF_WRONG_TAGS = (ValueError, LookupError, AttributeError)  # PyYAML's, for values such as `!!int ''`
_MISNOMERS = ("dogfood.yml", ".dogfood.yaml", ".dogfood.yml")


def read_project_file(directory: Path) -> Mapping[str, Any]:
    """Give what the dogfood.yaml of a directory holds; nothing where there is none.

    Raises HubUsageError where it cannot be read, has keys that nobody reads, or goes by another name.
    """
    for name in _MISNOMERS:
        if _holds_ours(directory / name):
            raise HubUsageError(
                f"{directory / name}:1: a file of this name is not read; call it {PROJECT_FILE}"
            )
    path = directory / PROJECT_FILE
    content, problems = _parsed(path)
    if problems:
        raise HubUsageError("\n".join(problems))
    return content


def settings_text(path: Path) -> str:
    """Give a settings file's text; nothing where there is none. Raises HubUsageError where it cannot be read."""
    try:
        # Of a pipe nobody knows whether its text will ever come.
        return path.read_text(encoding="utf-8-sig") if stat.S_ISREG(path.stat().st_mode) else ""
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise HubUsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _holds_ours(path: Path) -> bool:
    """Tell whether a file is meant for us: one of such a name may be another tool's, a workflow for instance."""
    try:
        return bool(_OURS & _parsed(path)[0].keys())
    except HubUsageError:
        return False


def _parsed(path: Path) -> tuple[Mapping[str, Any], list[str]]:
    """Give the content, and what is wrong with its keys."""
    text = settings_text(path)
    if not text:
        return {}, []
    try:
        node, content = _loaded(text)
    except yaml.MarkedYAMLError as error:
        raise HubUsageError(f"{_place(path, error.problem_mark)}: is no YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError, *_OF_WRONG_TAGS) as error:
        said = str(error).splitlines() or [type(error).__name__]
        raise HubUsageError(f"{path} is no YAML: {said[0]}") from error
    if not isinstance(node, yaml.MappingNode):
        said = [] if content is None else [f"{path}:1: it holds keys and values, such as `consistency:`"]
        return {}, said
    known: Mapping[str, Any] = content or {}
    return known, list(_problems(path, node))


def _loaded(text: str) -> tuple[yaml.Node | None, Any]:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        return node, loader.construct_document(node) if node is not None else None
    finally:
        loader.dispose()


def _problems(path: Path, node: yaml.MappingNode) -> Iterator[str]:
    seen: set[str] = set()
    for key, _ in node.value:
        place, name = _place(path, key.start_mark), str(key.value)
        if name not in KEYS:
            hint = did_you_mean(name, KEYS) or "known are " + ", ".join(KEYS)
            yield f"{place}: the key '{name}' is unknown, {hint}"
        elif name in seen:
            yield f"{place}: the key '{name}' stands here twice; put both together"
        seen.add(name)


def _place(path: Path, mark: yaml.Mark | None) -> str:
    return f"{path}:{mark.line + 1}:{mark.column + 1}" if mark is not None else str(path)
