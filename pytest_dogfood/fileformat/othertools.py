"""Keys that people bring along from other tools, and what to write here."""

from __future__ import annotations

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
