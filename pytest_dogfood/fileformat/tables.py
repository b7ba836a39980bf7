"""The tables of the format: every key of a journey, step and capability, with its values and its meaning.

A new key of a step is also read in `builder`, filled in `matrix`, and named in `scripts` if a script may have it.
"""

from __future__ import annotations

from pytest_dogfood.fileformat.scalars import (
    BASE_TOKEN,
    ENV_NAME,
    FILE_PATTERN,
    IDENTIFIER,
    JOURNEY_ID,
    LOCKS,
    MATRIX_VALUE,
    PLAIN_NAME,
    REQUIRED_TOKENS,
    SAVED_NAME,
    TOKENS,
    VARIABLE,
    Command,
    Duration,
    ExitStatus,
    ExpectedText,
    FreeMap,
    InnerPath,
    JmesPath,
    MarkShape,
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
    Positioned,
    Record,
    Shorthand,
    Text,
    one_of,
    one_or_many,
)
from pytest_dogfood.journey import Scope, Tier

_COMMAND = ("cmd", "command", "script", "exec", "bash")
_TITLE = ("title", "description")

_HINTS_IN_STEPS = {
    **dict.fromkeys(_COMMAND, "a command is called `run:` here"),
    **dict.fromkeys(("name", *_TITLE), "say it in `intent:`"),
    **dict.fromkeys(
        ("assert", "assertions", "check", "verify"), "what the user must see is called `expect:` here"
    ),
    **dict.fromkeys(("workdir", "working_directory", "dir"), "the directory of a step is called `cwd:`"),
}
_HINTS_IN_JOURNEYS = {
    **dict.fromkeys(_COMMAND, "a command belongs in a step, under `steps:`, as `run:`"),
    **dict.fromkeys(
        ("needs", "depends", "depends_on", "dependencies"), "what it needs is called `requires:` here"
    ),
    **dict.fromkeys(("provides", "gives", "outputs"), "what it makes true is called `establishes:` here"),
    **dict.fromkeys(_TITLE, "say it in `rationale:`, or in a step's `intent:`"),
    "name": "its name is called `id:` here",
}

TEXT = Text()
TEXT_OR_NOTHING = Text(empty=True)
FREE_TEXT = Text(
    expected="text for people, or assertions",
    number_hint="an exit status is written `expect: {exit: 2}`, an output `expect: {stdout: {contains: ready}}`",
)
FLAG = Flag()
DURATION = Duration()
COMMAND = Command()
ENV = MapOf(key=ENV_NAME, value=TEXT_OR_NOTHING, expected="a mapping from variables to text")
_SEED_ITEM = Record(
    name="a file to seed",
    description="A file that exists when the step or journey begins.",
    keys={
        "path": Key(Positioned(InnerPath()), "Where, below the working directory.", required=True),
        "content": Key(TEXT_OR_NOTHING, "What the file holds.", required=True),
    },
)
SEED_FILES: ByKind[dict[str, str] | tuple[Fields, ...]] = ByKind(
    expected="a mapping from paths to text",
    mapping=MapOf(key=InnerPath(), value=TEXT_OR_NOTHING),
    sequence=ListOf(_SEED_ITEM),
)

SHARED_KEYS = {
    "env": Key(
        ENV,
        "Environment variables; values may use variables such as `$DOGFOOD_STATE`.",
        examples=('{APP_HOME: "$DOGFOOD_STATE/app"}',),
    ),
    "cwd": Key(TEXT, "Directory, relative to the working directory.", examples=("src",)),
    "shell": Key(TEXT, "The shell that takes a textual `run`.", examples=("bash", "sh")),
}
SEED_KEY = Key(SEED_FILES, "Files to write first: path to text.", examples=('{a.txt: "hello"}',))

_EXPECTED_TEXT = ExpectedText()
_TEXTS_TO_FIND = one_or_many(_EXPECTED_TEXT, empty_code=CHECKS_NOTHING)
STREAM_RECORD = Record(
    name="an expected stream",
    description="What an output stream must show.",
    empty_code=CHECKS_NOTHING,
    keys={
        "contains": Key(_TEXTS_TO_FIND, "Text that occurs.", examples=("ready",)),
        "not_contains": Key(_TEXTS_TO_FIND, "Text that does not occur.", examples=("error",)),
        "matches": Key(
            one_or_many(Regex(checks=True), empty_code=CHECKS_NOTHING),
            "Regular expressions found.",
            examples=('"v\\\\d+"',),
        ),
        "equals": Key(ExpectedText(empty=True), "The whole of the stream.", examples=('"done\\n"',)),
        "json": Key(
            FreeMap(),
            "The stream is JSON; each JMESPath expression gives its value.",
            examples=("{status: ok}",),
        ),
    },
)
STREAM = ByKind(
    expected="text it contains, or a mapping",
    scalar=Shorthand("contains", one_or_many(_EXPECTED_TEXT)),
    mapping=STREAM_RECORD,
)
FILE_RECORD = Record(
    name="an expected file",
    description="What must be true of a file.",
    empty_code=CHECKS_NOTHING,
    keys={
        "exists": Key(FLAG, "Whether it exists (default: true)."),
        "contains": Key(_TEXTS_TO_FIND, "Text that occurs.", examples=("port = 80",)),
        "equals": Key(ExpectedText(empty=True), "The whole of the file."),
    },
)
FILE = ByKind(expected="true, false or a mapping", scalar=Shorthand("exists", FLAG), mapping=FILE_RECORD)
EXPECTATION = Record(
    name="an expectation",
    description="What makes a step succeed.",
    empty_code=CHECKS_NOTHING,
    keys={
        "exit": Key(ExitStatus(), "The exit status (default: 0).", examples=("nonzero",)),
        "stdout": Key(STREAM, "What standard output shows.", examples=("{contains: ready}",)),
        "stderr": Key(STREAM, "What standard error shows.", examples=("warning",)),
        "files": Key(
            MapOf(key=_EXPECTED_TEXT, value=FILE, empty_code=CHECKS_NOTHING),
            "Files afterwards, by path.",
            examples=("{a.txt: true}",),
        ),
        "text": Key(TEXT, "Free text, only where an actor acts."),
    },
    elsewhere={"json": "`json` belongs under `stdout:` or `stderr:`"},
)
SAVE = Record(
    name="a value to save",
    description="A value of the later steps, which also travels with the tokens that the journey establishes.",
    keys={
        "stdout": Key(Regex(max_groups=1), "Its group, else its match.", examples=('"id=(\\\\d+)"',)),
        "stderr": Key(Regex(max_groups=1), "The same on standard error."),
        "json": Key(JmesPath(), "A JMESPath expression on the stream.", examples=("items[0].id",)),
        "stream": Key(one_of("stdout", "stderr"), "The stream `json` reads."),
        "secret": Key(FLAG, "Whether reports hide it."),
    },
)
_UNTIL_RECORD = Record(
    name="until",
    description="Repeat the step until it succeeds.",
    keys={
        "timeout": Key(DURATION, "The time after which it gives up.", examples=("30s",), required=True),
        "interval": Key(DURATION, "The pause in between.", examples=("500ms",)),
    },
)
STEP_RECORD = Record(
    name="a step",
    description="One thing the user does, and what they must see.",
    keys={
        "intent": Key(TEXT, "What the user wants.", examples=("log in",)),
        "run": Key(COMMAND, "Shell text, or a list of words.", examples=("make test", "[ls, -l]")),
        "expect": Key(
            ByKind(expected="text or a mapping", scalar=Shorthand("text", FREE_TEXT), mapping=EXPECTATION),
            "Assertions; where an actor acts, free text.",
            examples=("{stdout: {contains: ready}}",),
        ),
        "expect_exit": Key(ExitStatus(), "The same as `exit` under `expect:`.", examples=("2",)),
        "save": Key(
            MapOf(key=SAVED_NAME, value=SAVE, empty_code=CHECKS_NOTHING),
            "Values to take from the output.",
            examples=('{tag: {stdout: "(\\\\w+)"}}',),
        ),
        "until": Key(
            ByKind(
                expected="a duration or a mapping",
                scalar=Shorthand("timeout", DURATION),
                mapping=_UNTIL_RECORD,
            ),
            "Repeat the step for that long until it succeeds.",
            examples=("30s", "{timeout: 30s, interval: 1s}"),
        ),
        "timeout": Key(DURATION, "The limit of the step.", examples=("60", "2m")),
        "stdin": Key(TEXT_OR_NOTHING, "Text on standard input."),
        "seed_files": SEED_KEY,
        "core": Key(FLAG, "Whether the step decides the outcome, if an actor takes part."),
        "expect_cmd_re": Key(Regex(), "Which of an actor's commands the step is graded on."),
        "expect_text": Key(TEXT, "What must be seen, in words for a judge."),
        "expect_state": Key(TEXT, "The state that must be found, in words for a judge."),
        **SHARED_KEYS,
    },
    elsewhere=_HINTS_IN_STEPS,
)
_COMMAND_ALONE = Shorthand("run", COMMAND)
STEP = ByKind(expected="a step (a command, or a mapping)", scalar=_COMMAND_ALONE, mapping=STEP_RECORD)
PROBE = ByKind(
    expected="a probe (a command, or a step)",
    scalar=_COMMAND_ALONE,
    sequence=_COMMAND_ALONE,
    mapping=STEP_RECORD,
)
STEPS = ListOf(STEP, "a list of steps")

DEFAULTS = Record(
    name="defaults",
    description="Defaults for steps; a journey or a step may set its own.",
    keys={**SHARED_KEYS, "timeout": Key(DURATION, "The limit of each step.", examples=("60",))},
)
SERVICE = Record(
    name="a service",
    description="A process that runs as long as something needs it.",
    keys={
        "run": Key(COMMAND, "What to start.", examples=("exec ./server",), required=True),
        "ports": Key(one_or_many(VARIABLE), "Free loopback ports to name.", examples=("[port]",)),
        **SHARED_KEYS,
    },
)
INPUTS = Record(
    name="the inputs of a token",
    description="What the files of a copyable token are made from.",
    empty_code="missing-value",
    keys={
        "files": Key(
            one_or_many(FILE_PATTERN, empty_code="missing-value"),
            "Files, as patterns relative to the directory of this file.",
            examples=("[schema.sql, seed/**/*.csv]",),
        ),
        "env": Key(
            one_or_many(VARIABLE, empty_code="missing-value"),
            "Names of environment variables.",
            examples=("[APP_VERSION]",),
        ),
        "run": Key(COMMAND, "A command whose output counts.", examples=("sqlite3 --version",)),
    },
)
CAPABILITY = Record(
    name="a capability",
    description="The definition of a token.",
    keys={
        "description": Key(TEXT, "What is true while the token is present."),
        "scope": Key(
            Choice(options={str(scope): scope for scope in Scope}),
            "Where the token is true (default: `chain`).",
            examples=("machine",),
        ),
        "requires": Key(REQUIRED_TOKENS, "What its provider needs.", examples=("[db-ready]",)),
        "probe": Key(PROBE, "Exits 0 if and only if the token is present.", examples=("test -f done",)),
        "provision": Key(STEPS, "Idempotent steps that set it up."),
        "service": Key(SERVICE, "A process that provides it."),
        "release": Key(STEPS, "Steps after the last journey that needs it."),
        "locks": Key(LOCKS, "The locks held while it is provisioned or released.", examples=("[gpu]",)),
        "lock": Key(LOCKS, "The same as `locks`.", alias_of="locks"),
        "invalidates": Key(TOKENS, "Tokens that provisioning it destroys.", examples=("[config-a]",)),
        "outlives": Key(
            REQUIRED_TOKENS, "What it needs only while it is set up.", examples=("[old-server]",)
        ),
        "timeout": Key(DURATION, "The limit of the probe, and of a service's start (default: 60 s)."),
        "copyable": Key(
            FLAG,
            "Whether it is true wholly because of files below `$DOGFOOD_STATE`, and of a copy of them too.",
        ),
        "inputs": Key(
            INPUTS,
            "What its files are made from; only with `copyable: true`.",
            examples=("{files: [schema.sql]}",),
        ),
    },
    elsewhere={"establishes": "a capability is established by journeys, or by `provision:`"},
)
CAPABILITIES = MapOf(key=BASE_TOKEN, value=CAPABILITY, expected="a mapping from tokens to their definitions")

_JOURNEY_KEYS = {
    "id": Key(JOURNEY_ID, "Its name, unique in the project.", examples=("log-in",), required=True),
    "journey_id": Key(JOURNEY_ID, "The same as `id`.", alias_of="id"),
    "rationale": Key(TEXT, "Why it matters."),
    "source": Key(
        ByKind(expected="text or a mapping", scalar=TEXT, mapping=MapOf(key=TEXT, value=TEXT)),
        "Where it is promised.",
        examples=('{kind: readme, ref: "README.md#build"}',),
    ),
    "modality": Key(TEXT, "How the user works.", examples=("cli", "gui")),
    "tier": Key(
        Choice(options={tier.name.lower(): tier for tier in Tier}),
        "How early it runs (default: `core`).",
    ),
    "gating": Key(FLAG, "Whether later tiers wait for it."),
    "establishes": Key(TOKENS, "Tokens that are present once it has passed.", examples=("[db-ready]",)),
    "requires": Key(REQUIRED_TOKENS, "Tokens that it needs.", examples=("[db-ready]",)),
    "invalidates": Key(TOKENS, "Tokens that it destroys.", examples=("[db-ready]",)),
    "leaves": Key(one_of("daemon"), "A daemon that its tokens stand for."),
    "seed_files": SEED_KEY,
    "timeout": Key(DURATION, "The limit of the whole journey.", examples=("5m",)),
    "estimate": Key(Duration(zero=True), "Roughly how long it takes.", examples=("20s",)),
    "workdir": Key(PLAIN_NAME, "A directory shared in the chain's state.", examples=("repo",)),
    "sandbox": Key(PLAIN_NAME, "The same as `workdir`.", alias_of="workdir"),
    "use": Key(one_or_many(IDENTIFIER), "pytest fixtures to set up.", examples=("[server]",)),
    "marks": Key(one_or_many(MarkShape()), "pytest marks.", examples=("[slow]",)),
    "matrix": Key(
        MapOf(key=VARIABLE, value=ListOf(MATRIX_VALUE, empty_code="empty-matrix")),
        "Runs it once per combination; values are variables.",
        examples=("{os: [linux, mac]}",),
    ),
    "locks": Key(LOCKS, "One holder at a time, or units of a pool.", examples=("[gpu]", "{gpu: 2}")),
    "lock": Key(LOCKS, "The same as `locks`.", alias_of="locks"),
    "cleanup": Key(STEPS, "Steps that always run, with the values saved so far."),
    "steps": Key(ListOf(STEP, "a list of steps", "no-steps"), "What the user does, in order."),
    **SHARED_KEYS,
}
FILE_KEYS = {
    "feature": Key(TEXT, "What the journeys are about."),
    "defaults": Key(DEFAULTS, "Defaults for all steps of the file."),
    "capabilities": Key(CAPABILITIES, "Definitions of tokens."),
}
IN_DEFAULTS = {name: f"{name!r} for the whole file belongs under `defaults:`" for name in DEFAULTS.keys}

JOURNEY = Record(
    name="a journey",
    description="A named user scenario.",
    keys=_JOURNEY_KEYS,
    elsewhere={
        **{
            name: f"{name!r} belongs into a step, under `steps:`"
            for name in STEP_RECORD.keys
            if name not in _JOURNEY_KEYS
        },
        **{name: f"{name!r} belongs at the top of the file" for name in FILE_KEYS},
        **_HINTS_IN_JOURNEYS,
        "journeys": "a file holds one list of journeys; a journey holds steps",
    },
)
SINGLE_JOURNEY = Record(
    name="a file with one journey",
    description="The journey's own keys at the top, together with those of the file.",
    keys={
        **_JOURNEY_KEYS,
        "id": Key(JOURNEY_ID, "Its name (default: the file's name)."),
        **FILE_KEYS,
    },
    elsewhere=JOURNEY.elsewhere,
)
JOURNEY_FILE = Record(
    name="a journey file",
    description="A file with a list of journeys.",
    keys={**FILE_KEYS, "journeys": Key(ListOf(JOURNEY, empty_code="no-journeys"), "The journeys.")},
    elsewhere=IN_DEFAULTS,
)
