"""The tables of the format: every key of a journey, step and capability, what it takes and what it means.

What several records share is in `vocabulary`. A new key of a step is also read in `builder`,
filled in `matrix`, and named in `scripts` if a script may have it.
"""

from __future__ import annotations

from pytest_dogfood.fileformat.scalars import Duration, ExitStatus, JmesPath, MarkShape, Regex
from pytest_dogfood.fileformat.shapes import (
    CHECKS_NOTHING,
    ByKind,
    Choice,
    Fields,
    Key,
    ListOf,
    MapOf,
    OneOrMany,
    Record,
)
from pytest_dogfood.fileformat.vocabulary import (
    ANY_TEXT,
    BASE_TOKEN,
    COMMAND,
    CONSISTENCY_RECORD,
    DURATION,
    EXPECTED,
    FILE,
    FLAG,
    FREE_TEXT,
    IDENTIFIER,
    JOURNEY_ID,
    MATRIX_VALUE,
    OF_JOURNEYS,
    OF_STEPS,
    PLAIN_NAME,
    REQUIRED_TOKENS,
    SAVED_NAME,
    SEED_KEY,
    SHARED_KEYS,
    STREAM,
    TEXT,
    TOKENS,
    VARIABLE,
)
from pytest_dogfood.journey import Scope, Tier

FLEET = "fleet"
"""A word that is reserved as a scope, and refused with a message of its own."""

EXPECTATION = Record(
    name="an expectation",
    description="What makes a step succeed.",
    empty_code=CHECKS_NOTHING,
    keys={
        "exit": Key(
            shape=ExitStatus(), description="The exit status; 0 unless told otherwise.", examples=("nonzero",)
        ),
        "stdout": Key(
            shape=STREAM, description="What standard output shows.", examples=("{contains: ready}",)
        ),
        "stderr": Key(shape=STREAM, description="What standard error shows.", examples=("warning",)),
        "files": Key(
            shape=MapOf(key=EXPECTED, value=FILE, empty_code=CHECKS_NOTHING),
            description="Files afterwards, by path.",
            examples=("{a.txt: true}",),
        ),
        "text": Key(shape=TEXT, description="Free text, only where an actor acts."),
    },
    elsewhere={"json": "`json` belongs under `stdout:` or `stderr:`"},
)
SAVE = Record(
    name="a value to save",
    description="A value of the later steps, which also travels with the tokens that the journey establishes.",
    keys={
        "stdout": Key(
            shape=Regex(max_groups=1), description="Its group, else its match.", examples=('"id=(\\\\d+)"',)
        ),
        "stderr": Key(shape=Regex(max_groups=1), description="The same on standard error."),
        "json": Key(
            shape=JmesPath(), description="A JMESPath expression on the stream.", examples=("items[0].id",)
        ),
        "stream": Key(
            shape=Choice(options={"stdout": "stdout", "stderr": "stderr"}),
            description="The stream `json` reads.",
        ),
        "secret": Key(shape=FLAG, description="Whether reports must hide it."),
    },
)
_UNTIL_RECORD = Record(
    name="until",
    description="Repeat the step until it succeeds.",
    keys={
        "timeout": Key(shape=DURATION, description="For how long at most.", examples=("30s",), required=True),
        "interval": Key(shape=DURATION, description="The pause in between.", examples=("500ms",)),
    },
)
STEP_RECORD = Record(
    name="a step",
    description="One thing the user does, and what must be seen.",
    keys={
        "intent": Key(shape=TEXT, description="What the user wants.", examples=("log in",)),
        "run": Key(
            shape=COMMAND, description="Shell text, or a list of words.", examples=("make test", "[ls, -l]")
        ),
        "expect": Key(
            shape=ByKind(expected="text or a mapping", scalar=FREE_TEXT, mapping=EXPECTATION),
            description="Assertions; where an actor acts, free text.",
            examples=("{stdout: {contains: ready}}",),
        ),
        "expect_exit": Key(
            shape=ExitStatus(), description="The same as `exit` under `expect:`.", examples=("2",)
        ),
        "save": Key(
            shape=MapOf(key=SAVED_NAME, value=SAVE, empty_code=CHECKS_NOTHING),
            description="Values to take from the output.",
            examples=('{tag: {stdout: "(\\\\w+)"}}',),
        ),
        "until": Key(
            shape=ByKind(expected="a duration or a mapping", scalar=DURATION, mapping=_UNTIL_RECORD),
            description="Repeat the step for that long until it succeeds.",
            examples=("30s", "{timeout: 30s, interval: 1s}"),
        ),
        "timeout": Key(shape=DURATION, description="The limit of the step.", examples=("60", "2m")),
        "stdin": Key(shape=ANY_TEXT, description="Text on standard input."),
        "seed_files": SEED_KEY,
        "core": Key(shape=FLAG, description="Whether the step decides the outcome, if an actor takes part."),
        "expect_cmd_re": Key(
            shape=Regex(), description="Which of an actor's commands the step is graded on."
        ),
        "expect_text": Key(shape=TEXT, description="What must be seen, in words for a judge."),
        "expect_state": Key(shape=TEXT, description="The state that must be found, in words for a judge."),
        **SHARED_KEYS,
    },
    elsewhere=OF_STEPS,
)
STEP: ByKind[str | tuple[str, ...] | Fields] = ByKind(
    expected="a step (a command, or a mapping)", scalar=COMMAND, mapping=STEP_RECORD
)
PROBE: ByKind[str | tuple[str, ...] | Fields] = ByKind(
    expected="a probe (a command, or a step)", scalar=COMMAND, sequence=COMMAND, mapping=STEP_RECORD
)
STEPS = ListOf(item=STEP, expected="a list of steps")

DEFAULTS = Record(
    name="defaults",
    description="What steps are given unless they or their journey say otherwise.",
    keys={
        **SHARED_KEYS,
        "timeout": Key(shape=DURATION, description="The limit of each step.", examples=("60",)),
    },
)
SERVICE = Record(
    name="a service",
    description="A process that lives as long as somebody needs it.",
    keys={
        "run": Key(shape=COMMAND, description="What to start.", examples=("exec ./server",), required=True),
        "ports": Key(
            shape=OneOrMany(item=VARIABLE), description="Free loopback ports to name.", examples=("[port]",)
        ),
        **SHARED_KEYS,
    },
)
CAPABILITY = Record(
    name="a capability",
    description="The definition of a token.",
    keys={
        "description": Key(shape=TEXT, description="What is there while the token holds."),
        "scope": Key(
            shape=Choice(
                options={"chain": Scope.CHAIN, "machine": Scope.MACHINE, FLEET: FLEET}, unsaid=(FLEET,)
            ),
            description="Where the token is true; `chain` unless told otherwise.",
            examples=("machine",),
        ),
        "requires": Key(
            shape=REQUIRED_TOKENS, description="What its provider needs.", examples=("[db-ready]",)
        ),
        "probe": Key(
            shape=PROBE, description="Exits 0 exactly if the token is there.", examples=("test -f done",)
        ),
        "provision": Key(shape=STEPS, description="Idempotent steps that bring it about."),
        "service": Key(shape=SERVICE, description="A process that brings it about."),
        "release": Key(shape=STEPS, description="Steps after the last journey that needs it."),
        "locks": Key(
            shape=OneOrMany(item=TEXT),
            description="Held while it is provisioned or released; one holder at a time on the machine.",
            examples=("[gpu]",),
        ),
        "lock": Key(shape=OneOrMany(item=TEXT), description="The same as `locks`.", alias_of="locks"),
        "invalidates": Key(
            shape=TOKENS, description="Tokens that provisioning it destroys.", examples=("[config-a]",)
        ),
        "outlives": Key(
            shape=REQUIRED_TOKENS,
            description="What it needs only while it is made, and not later.",
            examples=("[old-server]",),
        ),
        "timeout": Key(
            shape=DURATION,
            description="The limit of the probe, and of a service's start; 60 s unless told otherwise.",
        ),
    },
    elsewhere={"establishes": "a capability is established by journeys, or by `provision:`"},
)
CAPABILITIES = MapOf(key=BASE_TOKEN, value=CAPABILITY, expected="a mapping from tokens to their definitions")

_TIERS = {"smoke": Tier.SMOKE, "core": Tier.CORE, "deep": Tier.DEEP}
_JOURNEY_KEYS = {
    "id": Key(
        shape=JOURNEY_ID, description="Its name, unique in the project.", examples=("log-in",), required=True
    ),
    "journey_id": Key(shape=JOURNEY_ID, description="The same as `id`.", alias_of="id"),
    "rationale": Key(shape=TEXT, description="Why it matters."),
    "source": Key(
        shape=ByKind(expected="text or a mapping", scalar=TEXT, mapping=MapOf(key=TEXT, value=TEXT)),
        description="Where it is promised.",
        examples=('{kind: readme, ref: "README.md#build"}',),
    ),
    "modality": Key(shape=TEXT, description="How the user works.", examples=("cli", "gui")),
    "tier": Key(shape=Choice(options=_TIERS), description="How early it runs; `core` unless told otherwise."),
    "gating": Key(shape=FLAG, description="Whether later tiers wait for it."),
    "establishes": Key(
        shape=TOKENS, description="Tokens that hold once it has passed.", examples=("[db-ready]",)
    ),
    "requires": Key(shape=REQUIRED_TOKENS, description="Tokens that it needs.", examples=("[db-ready]",)),
    "invalidates": Key(shape=TOKENS, description="Tokens that it destroys.", examples=("[db-ready]",)),
    "seed_files": SEED_KEY,
    "timeout": Key(shape=DURATION, description="The limit of the whole journey.", examples=("5m",)),
    "estimate": Key(shape=Duration(zero=True), description="How long it takes about.", examples=("20s",)),
    "workdir": Key(
        shape=PLAIN_NAME, description="A directory shared in the chain's state.", examples=("repo",)
    ),
    "sandbox": Key(shape=PLAIN_NAME, description="The same as `workdir`.", alias_of="workdir"),
    "use": Key(
        shape=OneOrMany(item=IDENTIFIER), description="pytest fixtures to set up.", examples=("[server]",)
    ),
    "marks": Key(shape=OneOrMany(item=MarkShape()), description="pytest marks.", examples=("[slow]",)),
    "matrix": Key(
        shape=MapOf(key=VARIABLE, value=ListOf(item=MATRIX_VALUE, empty_code="empty-matrix")),
        description="Runs it once per combination; values are variables.",
        examples=("{os: [linux, mac]}",),
    ),
    "locks": Key(
        shape=OneOrMany(item=TEXT), description="One holder at a time on the machine.", examples=("[gpu]",)
    ),
    "lock": Key(shape=OneOrMany(item=TEXT), description="The same as `locks`.", alias_of="locks"),
    "cleanup": Key(shape=STEPS, description="Steps that always run, with the values saved so far."),
    "steps": Key(
        shape=ListOf(item=STEP, expected="a list of steps", empty_code="no-steps"),
        description="What the user does, in order.",
    ),
    **SHARED_KEYS,
}
_IN_A_STEP = {
    name: f"{name!r} belongs into a step, under `steps:`"
    for name in STEP_RECORD.keys
    if name not in _JOURNEY_KEYS
}
_FILE_KEYS = {
    "feature": Key(shape=TEXT, description="What the journeys are about."),
    "defaults": Key(shape=DEFAULTS, description="What all steps of the file are given."),
    "capabilities": Key(shape=CAPABILITIES, description="Definitions of tokens."),
}
_IN_DEFAULTS = {name: f"{name!r} for the whole file belongs under `defaults:`" for name in DEFAULTS.keys}

JOURNEY = Record(
    name="a journey",
    description="A named user scenario.",
    keys=_JOURNEY_KEYS,
    elsewhere={
        **_IN_A_STEP,
        **{name: f"{name!r} belongs at the top of the file" for name in _FILE_KEYS},
        **OF_JOURNEYS,
        "journeys": "a file holds one list of journeys; a journey holds steps",
    },
)
SINGLE_JOURNEY = Record(
    name="a file with one journey",
    description="The journey's own keys at the top, together with those of the file.",
    keys={
        **_JOURNEY_KEYS,
        "id": Key(shape=JOURNEY_ID, description="Its name; the file's name unless told otherwise."),
        **_FILE_KEYS,
    },
    elsewhere=JOURNEY.elsewhere,
)
JOURNEY_FILE = Record(
    name="a journey file",
    description="A file with a list of journeys.",
    keys={
        **_FILE_KEYS,
        "journeys": Key(shape=ListOf(item=JOURNEY, empty_code="no-journeys"), description="The journeys."),
    },
    elsewhere=_IN_DEFAULTS,
)
SETTINGS = Record(
    name="dogfood.yaml",
    description="Definitions and defaults for a directory and all below it.",
    keys={
        "defaults": _FILE_KEYS["defaults"],
        "capabilities": _FILE_KEYS["capabilities"],
        "hub": Key(
            shape=Record(
                name="hub",
                description="The database that machines share.",
                keys={
                    "id": Key(
                        shape=TEXT,
                        description="The id of the hub of this repository.",
                        required=True,
                    )
                },
            ),
            description="The database that machines share.",
        ),
        "consistency": Key(
            shape=CONSISTENCY_RECORD, description="How workplans are kept in step with the hub."
        ),
    },
    elsewhere={"journeys": "journeys belong into files of their own, such as `shop.journey.yaml`"}
    | _IN_DEFAULTS,
)
