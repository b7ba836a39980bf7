"""What people bring along from other tools: keys, with what to write here, and whole files."""

from __future__ import annotations

from collections.abc import Collection

from pytest_dogfood.diagnostics import nearest
from pytest_dogfood.fileformat.nodes import ListNode, MapNode, Node

_COMMAND = ("cmd", "command", "script", "exec", "bash")
_NEEDS = ("needs", "depends", "depends_on", "dependencies")
_GIVES = ("provides", "gives", "outputs")
_ASSERTS = ("assert", "assertions", "check", "verify")
_TITLE = ("title", "description")

OF_STEPS = {
    **dict.fromkeys(_COMMAND, "a command is called `run:` here"),
    **dict.fromkeys(("name", *_TITLE), "say it in `intent:`"),
    **dict.fromkeys(_ASSERTS, "what must be seen is called `expect:` here"),
    **dict.fromkeys(("workdir", "working_directory", "dir"), "the directory of a step is called `cwd:`"),
}

OF_JOURNEYS = {
    **dict.fromkeys(_COMMAND, "a command belongs into a step, under `steps:`, as `run:`"),
    **dict.fromkeys(_NEEDS, "what it needs is called `requires:` here"),
    **dict.fromkeys(_GIVES, "what it brings about is called `establishes:` here"),
    **dict.fromkeys(_TITLE, "say it in `rationale:`, or in a step's `intent:`"),
    "name": "its name is called `id:` here",
}

_FILES = (
    ({"test_name", "stages"}, "a Tavern test"),
    ({"testcases"}, "a Venom test suite"),
    ({"runners", "steps"}, "a runn runbook"),
    ({"desc", "steps"}, "a runn runbook"),
    ({"on", "jobs"}, "a GitHub Actions workflow"),
    ({"runs", "name"}, "a GitHub action"),
    ({"jobs", "workflows"}, "a CircleCI configuration"),
    ({"pool", "steps"}, "an Azure pipeline"),
    ({"trigger", "steps"}, "an Azure pipeline"),
    ({"pipelines"}, "a Bitbucket pipeline"),
    ({"kind", "steps"}, "a Drone pipeline"),
    ({"apiVersion", "kind"}, "a Kubernetes manifest"),
    ({"apiVersion", "version"}, "a Helm chart"),
    ({"services"}, "a Compose file"),
    ({"tasks"}, "a Taskfile"),
    ({"stages"}, "a GitLab pipeline"),
    ({"openapi"}, "an OpenAPI description"),
    ({"swagger"}, "an OpenAPI description"),
    ({"config", "scenarios"}, "an Artillery script"),
    ({"info", "item"}, "a Postman collection"),
    ({"repos"}, "a configuration of pre-commit"),
    ({"site_name"}, "a configuration of MkDocs"),
    ({"name", "scripts"}, "a package.json"),
    ({"name", "dependencies"}, "a package.json"),
    ({"compilerOptions"}, "a configuration of TypeScript"),
)
"""Keys at the top of a file that tell whose it is, the most telling ones first."""

_OFTEN_ELSEWHERE = frozenset(
    (
        "id",
        "source",
        "env",
        "timeout",
        "cwd",
        "shell",
        "marks",
        "use",
        "matrix",
        "lock",
        "locks",
        "defaults",
        "workdir",
    )
)
"""Keys of ours that other tools have as well."""


def kind_of_file(root: Node) -> str:
    """Name the tool whose file this is, by the keys at its top; empty where that is not known."""
    if isinstance(root, ListNode):
        first = root.items[0] if root.items else None
        return "an Ansible playbook" if isinstance(first, MapNode) and "hosts" in first.entries else ""
    if not isinstance(root, MapNode) or "journeys" in root.entries or _has_steps_of_ours(root):
        return ""
    return next((kind for keys, kind in _FILES if keys <= root.entries.keys()), "")


def _has_steps_of_ours(root: MapNode) -> bool:
    """Whether there are steps of which one is a command or has a key as ours have."""
    steps = root.entries["steps"][1] if "steps" in root.entries else None
    return isinstance(steps, ListNode) and any(
        not isinstance(step, MapNode) or not step.entries.keys().isdisjoint(("run", "intent", "expect"))
        for step in steps.items
    )


def is_foreign(root: MapNode, ours: Collection[str], of_steps: Collection[str]) -> bool:
    """Whether nothing at the top of a file is meant for us: not `journeys` or `steps`, not even misspelt.

    `ours` are all keys that may stand there; `of_steps` those that are written there by mistake.
    """
    keys = root.entries.keys()
    unknown = [key for key in keys if key not in ours]
    telling = [key for key in keys if key in ours and key not in _OFTEN_ELSEWHERE]
    misplaced = any(key in of_steps or nearest(key, ("journeys", "steps"), likeness=0.75) for key in unknown)
    return bool(unknown) and not telling and not misplaced
