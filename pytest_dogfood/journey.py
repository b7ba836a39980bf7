"""The domain model as frozen values: journeys, their steps, and the capabilities between them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import Any, Literal, NewType

from msgspec import Struct, field

from pytest_dogfood.diagnostics import Location


class Dependence(Struct, frozen=True, kw_only=True):
    """The meaning of a dependency mark for the graph."""

    establishes: Token | None = None
    requires: tuple[Token, ...] = ()
    follows: tuple[JourneyId, ...] = ()
    obstacle: Obstacle | None = None


Token = NewType("Token", str)
"""Name of a capability in kebab-case, with an optional instance after a colon: `db-ready` or `db-ready:linux`."""

JourneyId = NewType("JourneyId", str)
"""Name of a journey, unique in the project; for a Python test its node id."""

ChainId = NewType("ChainId", str)
StateId = NewType("StateId", str)
"""Name of a chain: the id of its first journey in dependency order."""

TOKEN_PATTERN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*(:[A-Za-z0-9_.+-]+)?")
JOURNEY_ID_PATTERN = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")
VARIABLE_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MARK_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
"""pytest refuses names of marks that begin with an underscore."""


class Tier(IntEnum):
    """How early a journey runs. A failed gate defers every later tier."""

    SMOKE = 0
    CORE = 1
    DEEP = 2

    def __str__(self) -> str:
        return self.name.lower()


class Scope(StrEnum):
    """Where a token is true: in one state directory, for every worker of this machine, or on every machine."""

    CHAIN = "chain"
    MACHINE = "machine"
    FLEET = "fleet"

    @property
    def is_shared(self) -> bool:
        """Whether the token lies outside of all states, so that it ties no journeys to one place."""
        return self is not Scope.CHAIN


class StreamExpectation(Struct, frozen=True, kw_only=True):
    """The assertions on an output stream. `json` maps a JMESPath expression to its expected value."""

    contains: tuple[str, ...] = ()
    not_contains: tuple[str, ...] = ()
    matches: tuple[str, ...] = ()
    equals: str | None = None
    json: Mapping[str, Any] = field(default_factory=dict)


class FileExpectation(Struct, frozen=True, kw_only=True):
    """The assertions on a file; `path` is relative to the step's directory and may contain variables."""

    path: str
    exists: bool = True
    contains: tuple[str, ...] = ()
    equals: str | None = None


class Expectation(Struct, frozen=True, kw_only=True):
    """The conditions under which a step succeeds; `text` is free text, which only a judge can check."""

    exit: int | Literal["nonzero"] = 0
    stdout: StreamExpectation | None = None
    stderr: StreamExpectation | None = None
    files: tuple[FileExpectation, ...] = ()
    text: str = ""


class Save(Struct, frozen=True, kw_only=True):
    """A value to take from a stream: the first group of `pattern` (else its whole match), or a JMESPath result."""

    name: str
    stream: Literal["stdout", "stderr"] = "stdout"
    pattern: str | None = None
    json: str | None = None
    secret: bool = False


class Until(Struct, frozen=True, kw_only=True):
    """Repeat the step every `interval` seconds until it succeeds, for at most `timeout` seconds."""

    timeout: float
    interval: float = 0.2


class Script(Struct, frozen=True, kw_only=True):
    """A file that is itself the command; `path` is relative to the rootdir. `variables` are the DOGFOOD_ ones it names.

    `uses` has the variables that a shell script uses, each with its first line, without DOGFOOD_ ones that it sets;
    None if no shell runs it. `reads` means that it seems to use the shell's `read` on its standard input.
    """

    path: str
    variables: tuple[str, ...] = ()
    uses: Mapping[str, int] | None = None
    reads: bool = False


class Step(Struct, frozen=True, kw_only=True):
    """One thing the user does, and what is expected of it.

    `run` is shell text, an argv without a shell, or a script; None means that an actor must choose a command. `timeout`
    is in seconds. `env`, `cwd` and `shell` already include those of `defaults:` and of the journey; `own_env` maps
    variables that the step itself sets to their places.
    """

    location: Location
    intent: str = ""
    run: str | tuple[str, ...] | Script | None = None
    shell: str | None = None
    expect: Expectation = field(default_factory=Expectation)
    save: tuple[Save, ...] = ()
    until: Until | None = None
    timeout: float | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    own_env: Mapping[str, Location] = field(default_factory=dict)
    cwd: str | None = None
    stdin: str | None = None
    seed_files: Mapping[str, str] = field(default_factory=dict)
    core: bool = False
    expect_cmd_re: str = ""
    expect_text: str = ""
    expect_state: str = ""

    @property
    def command(self) -> str:
        """The command as you would type it."""
        if self.run is None:
            return "(no command)"
        if isinstance(self.run, Script):
            return shlex.quote(self.run.path)
        return self.run if isinstance(self.run, str) else shlex.join(self.run)


class Service(Struct, frozen=True, kw_only=True):
    """A process that runs as long as something needs it; `ports` names the free loopback ports that it gets.

    `env` and `own_env` are those of a step.
    """

    location: Location
    run: str | tuple[str, ...]
    shell: str | None = None
    ports: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    own_env: Mapping[str, Location] = field(default_factory=dict)
    cwd: str | None = None


class Inputs(Struct, frozen=True, kw_only=True):
    """What the files of a copyable token are made from.

    `files` are patterns relative to the directory of the file at `location`, in which `run` runs: its output counts.
    `env` names environment variables.
    """

    location: Location
    files: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    run: Step | None = None


class Capability(Struct, frozen=True, kw_only=True):
    """The definition of a token: where it is true, how to probe, provision and release it.

    `timeout` (seconds) bounds the probe, and the time until a service's probe succeeds. `locks` maps locks to the
    number of units held while the token is provisioned or released. `invalidates` names the tokens that provisioning
    destroys. `outlives` names those of `requires` that are needed only during provisioning: they may be released while
    the token is still in use. `copyable` is the author's word that the token is true wholly because of files below
    the chain's state, and that a copy of them is as good; `CapabilityGraph.is_copyable` asks for it.
    """

    token: Token
    location: Location
    description: str = ""
    scope: Scope = Scope.CHAIN
    requires: Mapping[Token, Location] = field(default_factory=dict)
    probe: Step | None = None
    provision: tuple[Step, ...] = ()
    service: Service | None = None
    release: tuple[Step, ...] = ()
    timeout: float | None = None
    locks: Mapping[str, int] = field(default_factory=dict)
    invalidates: Mapping[Token, Location] = field(default_factory=dict)
    outlives: Mapping[Token, Location] = field(default_factory=dict)
    copyable: bool = False
    inputs: Inputs | None = None

    def mentions(self, variable: str) -> bool:
        """Return whether the name of an environment variable appears anywhere in the definition's steps."""
        return _stands_in(variable, self.probe, self.provision, self.service, self.release)

    @property
    def is_empty(self) -> bool:
        """Whether the definition has neither a probe nor a provider."""
        return not (self.probe or self.provision or self.service)


class Pool(Struct, frozen=True, kw_only=True):
    """Units of one kind, each with one holder at a time; a lock with the name of the pool takes some of them."""

    name: str
    location: Location
    units: tuple[str, ...]


def units_in_words(units: Sequence[str]) -> str:
    """Describe how many may hold a lock at the same time; `units` are those of its pool, none without a pool."""
    if not units:
        return "one holder at a time"
    names = (
        "" if all(unit.isdecimal() for unit in units) else f": {', '.join(units)}"
    )  # plain numbers add nothing
    return f"pool of {len(units)}{names}"


class Mark(Struct, frozen=True, kw_only=True):
    """A pytest mark written in a journey file."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


class Obstacle(Struct, frozen=True, kw_only=True):
    """Why a test cannot be run in any case; `who` and `why` make a sentence, `code` is that of a diagnostic."""

    code: str
    who: str
    why: str


class Journey(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A named user scenario. A Python test in the graph is the same value, with `python` set and no steps.

    `requires`, `establishes` and `invalidates` map each token to the place that names it. `path` is the file's,
    relative to the rootdir, with forward slashes. `leaves` is `daemon` if a token means a process that its steps leave
    running. `locks` maps locks to the number of units it holds, and `own_env` variables of `env` to their places,
    except those of the `matrix`. `groups` names, per token, the Python tests that only together establish it. `follows`
    names tests that come before a Python test in its chain, however they end.
    """

    id: JourneyId
    location: Location
    path: str
    nodeid: str
    steps: tuple[Step, ...] = ()
    requires: Mapping[Token, Location] = field(default_factory=dict)
    establishes: Mapping[Token, Location] = field(default_factory=dict)
    invalidates: Mapping[Token, Location] = field(default_factory=dict)
    feature: str = ""
    rationale: str = ""
    source: Mapping[str, str] = field(default_factory=dict)
    modality: str = ""
    tier: Tier = Tier.CORE
    gating: bool = False
    marks: tuple[Mark, ...] = ()
    leaves: str = ""
    use: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    own_env: Mapping[str, Location] = field(default_factory=dict)
    timeout: float | None = None
    estimate: float | None = None
    workdir: str | None = None
    seed_files: Mapping[str, str] = field(default_factory=dict)
    locks: Mapping[str, int] = field(default_factory=dict)
    cleanup: tuple[Step, ...] = ()
    matrix: Mapping[str, str] = field(default_factory=dict)
    python: bool = False
    groups: Mapping[Token, str] = field(default_factory=dict)
    follows: tuple[JourneyId, ...] = ()
    obstacle: Obstacle | None = None

    @property
    def needs_actor(self) -> bool:
        """Whether a step has no command, so that it needs an actor."""
        return any(step.run is None for step in self.steps)

    @property
    def no_actor_reason(self) -> str:
        """The first step without a command, and the missing actor, in words."""
        number, step = next((number, step) for number, step in enumerate(self.steps, 1) if step.run is None)
        reason = f"no actor: step {number} of {len(self.steps)} has no command ({step.location})"
        if self.is_gui:
            return f"{reason}, and no plugin implements pytest_dogfood_gui_action for 'modality: gui'"
        return f"{reason}; --dogfood-actor names one"

    @property
    def is_gui(self) -> bool:
        """Whether the journey uses a graphical interface, which no command can operate."""
        return self.modality.lower() == "gui"

    @property
    def keeps_file_order(self) -> bool:
        """Whether this is a test that dependency marks connect to others, so that it runs in file order."""
        return self.python and (bool(self.follows) or any(map(is_of_a_test, self.establishes)))

    def mentions(self, variable: str) -> bool:
        """Return whether the name of an environment variable appears anywhere in the journey's steps and files."""
        return _stands_in(variable, self.env, self.seed_files, self.steps, self.cleanup)


def _stands_in(variable: str, *parts: object) -> bool:
    texts = (repr(part) for part in parts)
    return any(variable in text and re.search(rf"{variable}(?![A-Za-z0-9_])", text) for text in texts)


def is_test(journey: JourneyId) -> bool:
    """Return whether this is the id of a Python test, its node id. Other ids have colons only in matrix values."""
    return "::" in journey.partition("[")[0]


def is_named_by(name: str, journey: str, nodeid: str) -> bool:
    """Return whether a name means a journey: its id or node id, with or without brackets, or its class or file."""
    whole = (journey, nodeid)
    return name in whole or any(one.startswith((f"{name}::", f"{name}[")) for one in whole)


def is_of_a_test(token: Token) -> bool:
    """Return whether the token means that a Python test has passed; it has two colons, so no file can name it."""
    return "::" in token


def base_of(token: Token) -> Token:
    """Return the capability's name without the instance: `db-ready` for `db-ready:linux`."""
    return token if is_of_a_test(token) else Token(token.partition(":")[0])


def means_every_instance(token: Token) -> bool:
    """Return whether a requirement such as `db-ready:*` means every established instance."""
    return token.endswith(":*") and not is_of_a_test(token)


def variable_for(token: Token, name: str) -> str:
    """Name the environment variable that carries the value `name` of `token` to its dependents."""
    return re.sub(r"[^A-Z0-9]", "_", f"DOGFOOD_{token}_{name}".upper())


def variable_for_lock(name: str) -> str:
    """Name the environment variable that lists the acquired units of a pool."""
    return variable_for(Token("lock"), name)
