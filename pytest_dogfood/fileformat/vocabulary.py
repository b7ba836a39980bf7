"""The words that several tables of the format share, and those that other tools use for them."""

from __future__ import annotations

import re
from collections.abc import Collection

from pytest_dogfood.diagnostics import nearest
from pytest_dogfood.fileformat.nodes import ListNode, MapNode, Node
from pytest_dogfood.fileformat.scalars import (
    Command,
    Duration,
    ExpectedText,
    FreeMap,
    InnerPath,
    JmesPath,
    Regex,
)
from pytest_dogfood.fileformat.shapes import (
    CHECKS_NOTHING,
    ByKind,
    Choice,
    Fields,
    Flag,
    Key,
    ListOf,
    MapOf,
    OneOrMany,
    Positioned,
    Record,
    Text,
    Word,
    Words,
)
from pytest_dogfood.journey import JOURNEY_ID_PATTERN

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
    """Return whether there are steps of which one is a command or has a key as ours have."""
    steps = root.entries["steps"][1] if "steps" in root.entries else None
    return isinstance(steps, ListNode) and any(
        not isinstance(step, MapNode) or not step.entries.keys().isdisjoint(("run", "intent", "expect"))
        for step in steps.items
    )


def is_foreign(root: MapNode, ours: Collection[str], of_steps: Collection[str]) -> bool:
    """Return whether nothing at the top of a file is meant for us: not `journeys` or `steps`, not even misspelt.

    `ours` are all keys that may stand there; `of_steps` those that are written there by mistake.
    """
    keys = root.entries.keys()
    unknown = [key for key in keys if key not in ours]
    telling = [key for key in keys if key in ours and key not in _OFTEN_ELSEWHERE]
    misplaced = any(key in of_steps or nearest(key, ("journeys", "steps"), likeness=0.75) for key in unknown)
    return bool(unknown) and not telling and not misplaced


TEXT = Text()
ANY_TEXT = Text(empty=True)
FREE_TEXT = Words(
    expected="text for people, or assertions",
    hint="an exit status is written `expect: {exit: 2}`, an output `expect: {stdout: {contains: ready}}`",
)
FLAG = Flag()
DURATION = Duration()
COMMAND = Command()

_ATOM = r"(?:[a-z0-9]|\$\{[A-Za-z_][A-Za-z0-9_]*\})+"
_INSTANCE = r":(?:[A-Za-z0-9_.+-]|\$\{[A-Za-z_][A-Za-z0-9_]*\})+"
_TOKEN_HINT = "tokens are kebab-case, such as `user-logged-in` or `db-ready:linux`"  # noqa: S105 - not a secret

BASE_TOKEN = Word(
    pattern=re.compile(r"[a-z0-9]+(-[a-z0-9]+)*"),
    code="bad-token",
    expected="a token without an instance",
    hint="tokens are kebab-case, such as `user-logged-in`",
)
TOKENS = OneOrMany(
    item=Positioned(
        inner=Word(
            pattern=re.compile(rf"{_ATOM}(?:-{_ATOM})*(?:{_INSTANCE})?"),
            code="bad-token",
            expected="a token",
            hint=_TOKEN_HINT,
        )
    )
)
REQUIRED_TOKENS = OneOrMany(
    item=Positioned(
        inner=Word(
            pattern=re.compile(rf"{_ATOM}(?:-{_ATOM})*(?:{_INSTANCE}|:\*)?"),
            code="bad-token",
            expected="a token",
            hint=_TOKEN_HINT,
        )
    )
)
IDENTIFIER = Word(
    pattern=re.compile(r"[A-Za-z_][A-Za-z0-9_]*"),
    code="bad-name",
    expected="a name",
    hint="letters, digits and underscores; no digit first",
)
_STEERING = (
    *("PATH", "HOME", "IFS", "ENV", "CDPATH", "PS4", "BASH_ENV", "BASHOPTS", "SHELLOPTS", "PWD"),
    *("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "DYLD_INSERT_LIBRARIES", "DYLD_LIBRARY_PATH"),
    *("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PERL5LIB", "PERL5OPT", "RUBYLIB", "RUBYOPT"),
    *("NODE_PATH", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS"),
)
"""Variables that decide what a later step runs: output of the product must not end there."""

VARIABLE = Word(
    pattern=re.compile(r"(?!DOGFOOD_)[A-Za-z_][A-Za-z0-9_]*"),
    code="bad-name",
    expected="a name for a variable",
    hint="letters, digits and underscores; no digit first; DOGFOOD_ is taken",
)
SAVED_NAME = Word(
    pattern=re.compile(rf"(?!DOGFOOD_|(?:{'|'.join(_STEERING)})$)[A-Za-z_][A-Za-z0-9_]*"),
    code="bad-name",
    expected="a name for a value to save",
    hint="letters, digits and underscores; no digit first; not DOGFOOD_, and not PATH, HOME or another variable that "
    "changes what later steps run",
)
ENV_NAME = Word(pattern=re.compile(r"[^=\s]+"), code="bad-name", expected="a name for a variable")
ENV = MapOf(key=ENV_NAME, value=ANY_TEXT, expected="a mapping from variables to text")
PLAIN_NAME = Word(
    pattern=re.compile(r"(?!\.\.?$)[^/\0\n]+"),
    code="bad-path",
    expected="the plain name of a directory",
    hint="one name without a slash; it is made below the chain's state",
)
JOURNEY_ID = Word(
    pattern=JOURNEY_ID_PATTERN,
    code="bad-id",
    expected="a journey id",
    hint="letters, digits, `-`, `_` and `.`; the first is no `-`",
)
MATRIX_VALUE = Word(pattern=re.compile(r"[^\x00-\x1f\x7f]+"), code="bad-name", expected="a value on one line")

_SEED_ITEM = Record(
    name="a file to seed",
    description="A file that is there when the step or journey begins.",
    keys={
        "path": Key(
            shape=Positioned(inner=InnerPath()), description="Where, below the workdir.", required=True
        ),
        "content": Key(shape=ANY_TEXT, description="What the file holds.", required=True),
    },
)
SEED_FILES: ByKind[dict[str, str] | tuple[Fields, ...]] = ByKind(
    expected="a mapping from paths to text",
    mapping=MapOf(key=InnerPath(), value=ANY_TEXT),
    sequence=ListOf(item=_SEED_ITEM),
)

SHARED_KEYS = {
    "env": Key(
        shape=ENV,
        description="Environment variables; values may name `$DOGFOOD_STATE` and its like.",
        examples=('{APP_HOME: "$DOGFOOD_STATE/app"}',),
    ),
    "cwd": Key(shape=TEXT, description="Directory, relative to the working directory.", examples=("src",)),
    "shell": Key(shape=TEXT, description="The shell that takes a textual `run`.", examples=("bash", "sh")),
}
SEED_KEY = Key(
    shape=SEED_FILES, description="Files to write first: path to text.", examples=('{a.txt: "hello"}',)
)

EXPECTED = ExpectedText()
SOME_TEXTS = OneOrMany(item=EXPECTED, empty_code=CHECKS_NOTHING)
STREAM_RECORD = Record(
    name="an expected stream",
    description="What must be seen in an output stream.",
    empty_code=CHECKS_NOTHING,
    keys={
        "contains": Key(shape=SOME_TEXTS, description="Text that occurs.", examples=("ready",)),
        "not_contains": Key(shape=SOME_TEXTS, description="Text that does not occur.", examples=("error",)),
        "matches": Key(
            shape=OneOrMany(item=Regex(checks=True), empty_code=CHECKS_NOTHING),
            description="Regular expressions found.",
            examples=('"v\\\\d+"',),
        ),
        "equals": Key(
            shape=ExpectedText(empty=True), description="The whole of the stream.", examples=('"done\\n"',)
        ),
        "json": Key(
            shape=FreeMap(key=JmesPath()),
            description="The stream is JSON; each JMESPath expression gives its value.",
            examples=("{status: ok}",),
        ),
    },
)
STREAM: ByKind[str | Fields] = ByKind(
    expected="text it contains, or a mapping", scalar=EXPECTED, mapping=STREAM_RECORD
)
FILE_RECORD = Record(
    name="an expected file",
    description="What must be true of a file.",
    empty_code=CHECKS_NOTHING,
    keys={
        "exists": Key(shape=FLAG, description="Whether it exists; true unless told otherwise."),
        "contains": Key(shape=SOME_TEXTS, description="Text that occurs.", examples=("port = 80",)),
        "equals": Key(shape=ExpectedText(empty=True), description="The whole of the file."),
    },
)
FILE: ByKind[bool | Fields] = ByKind(expected="true, false or a mapping", scalar=FLAG, mapping=FILE_RECORD)
CONSISTENCY_RECORD = Record(
    name="consistency",
    description="How this repository's workplans are kept in step with the hub.",
    keys={
        "workplans": Key(
            shape=OneOrMany(
                item=Word(
                    pattern=re.compile(r"(?!/)(?!(?:.*/)?\.\.(?:/|$)).+"),
                    code="bad-path",
                    expected="a directory or pattern inside the repository",
                ),
                empty_code="missing-value",
            ),
            description="Directories and patterns of files that hold workplans.",
            examples=("[workplans/]",),
        ),
        "same_rank": Key(
            shape=Choice(options={name: name for name in ("history", "hub", "hold")}),
            description="What counts on a tie; `history` unless told otherwise.",
        ),
        "commit_no_verify": Key(shape=FLAG, description="Whether commits are made without hooks."),
        "commit_sign": Key(
            shape=Choice(options={name: name for name in ("inherit", "never")}),
            description="Whether commits are signed; as git is told to unless told otherwise.",
        ),
        "fetch_timeout": Key(shape=DURATION, description="The limit of a fetch, in seconds."),
        "commit_timeout": Key(shape=DURATION, description="The limit of a commit, in seconds."),
        "git_timeout": Key(shape=DURATION, description="The limit of anything else of git's, in seconds."),
    },
)
