"""Random projects for `tests.support.doubted_projects`: without a fault, with faults of a known kind, or with noise."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pytest_dogfood.diagnostics import Location
from pytest_dogfood.doubt.experiments.examination import Examination
from pytest_dogfood.doubt.experiments.values import Code, Experiment, Finding, Unclear
from pytest_dogfood.journey import Journey, JourneyId, Token
from tests.support.doubted_projects import Action, Project, Simulation, examined

_PLACE = Location("doubted.journey.yaml", 1)


@dataclass(frozen=True)
class Fault:
    """A wrong declaration that was put into a project, as a finding has to name it; empty names are not compared."""

    kind: str
    code: Code
    journey: JourneyId | None = None
    token: Token | None = None
    guilty: JourneyId | None = None

    def is_found_by(self, finding: Finding) -> bool:
        return (
            finding.code == self.code
            and (not self.token or finding.token == self.token)
            and (not self.journey or finding.journey == self.journey)
        )

    def is_right_about_guilty(self, finding: Finding) -> bool:
        return not self.guilty or finding.guilty[:1] == (self.guilty,)


@dataclass
class Draft:
    """A project in the making: `things` are those that mean each token."""

    dice: random.Random
    project: Project = field(default_factory=Project)
    things: dict[Token, list[str]] = field(default_factory=dict)

    def ids(self) -> list[JourneyId]:
        return [one.id for one in self.project.journeys]

    def rests_on(self, journey: JourneyId) -> set[JourneyId]:
        graph = self.project.graph()
        return set(graph.all_before(journey))

    def order(self) -> list[JourneyId]:
        graph = self.project.graph()
        seen = Simulation(self.project).run(Experiment(chain=graph.chains[self.ids()[0]]))
        return list(seen.order)

    def strangers(self) -> list[tuple[JourneyId, JourneyId]]:
        """Return pairs of journeys of which neither rests on the other, in the order in which they run."""
        order = self.order()
        before = {one: self.rests_on(one) for one in order}
        return [
            (first, then)
            for number, first in enumerate(order)
            for then in order[number + 1 :]
            if first not in before[then] and then not in before[first]
        ]


def draw_clean(seed: int, *, least: int = 6, most: int = 14, copyable: bool = False) -> Draft:
    """Return a project of one chain whose declarations all hold; all its tokens may be `copyable`."""
    dice = random.Random(seed)  # noqa: S311 - dice
    draft = Draft(dice)
    project = draft.project
    tokens: list[Token] = []
    for number in range(dice.randint(least, most)):
        journey = JourneyId(f"j{number}")
        needed = dice.sample(tokens, min(len(tokens), dice.choice((1, 1, 1, 2, 2, 3)))) if tokens else []
        establishes = [Token(f"t{number}")] if not tokens or dice.random() < 0.55 else []
        does: list[Action] = [("need", dice.choice(draft.things[token])) for token in needed]
        does += [("need", thing) for token in needed for thing in draft.things[token] if dice.random() < 0.5]
        does.append(("write", f"own-{journey}"))
        for token in establishes:
            draft.things[token] = [f"{token}-{part}" for part in range(dice.choice((1, 2, 2, 3)))]
            does += [("write", thing) for thing in draft.things[token]]
            if dice.random() < 0.75:
                # What is written last is asked for, so that no probe says yes too early.
                project.probes[token] = draft.things[token][-dice.choice((1, 3)) :]
            if dice.random() < 0.4:
                project.providers[token] = [("write", thing) for thing in draft.things[token]]
        if dice.random() < 0.3:
            does.append(("log", "app.log"))
        project.journeys.append(
            Journey(
                id=journey,
                location=_PLACE,
                path="doubted.journey.yaml",
                nodeid=f"doubted.journey.yaml::{journey}",
                requires=dict.fromkeys(needed, _PLACE),
                establishes=dict.fromkeys(establishes, _PLACE),
            )
        )
        project.does[journey] = does
        project.seconds[journey] = dice.choice((0.5, 1.0, 2.0))
        tokens += establishes
    if dice.random() < 0.3 and len(tokens) > 1:  # one that destroys a token, and says so
        token = dice.choice(tokens[1:])
        number = len(project.journeys)
        journey = JourneyId(f"j{number}")
        project.journeys.append(
            Journey(
                id=journey,
                location=_PLACE,
                path="doubted.journey.yaml",
                nodeid=f"doubted.journey.yaml::{journey}",
                requires={token: _PLACE},
                invalidates={token: _PLACE},
            )
        )
        project.does[journey] = [("delete", thing) for thing in draft.things[token]]
    if copyable:
        project.copyable.update(draft.things)
    return draft


def _need(draft: Draft, kind: str) -> Fault | None:
    pairs = draft.strangers()
    by_id = {one.id: one for one in draft.project.journeys}
    gives = [pair for pair in pairs if bool(by_id[pair[0]].establishes) != (kind == "leaf")]
    gives = [pair for pair in gives if not by_id[pair[0]].invalidates]
    if not gives:
        return None
    giver, taker = draft.dice.choice(gives)
    if kind == "token":
        (token, *_) = by_id[giver].establishes
        thing = draft.dice.choice(draft.things[token])
    else:
        thing = f"{kind}-of-{giver}"
        draft.project.does[giver] = [*draft.project.does[giver], ("write", thing)]
    does = draft.project.does[taker]
    place = draft.dice.randrange(len(does) + 1)
    draft.project.does[taker] = [*does[:place], ("need", thing), *does[place:]]
    return Fault(f"need of {kind}", Code.UNDECLARED_REQUIRES, journey=taker, guilty=giver)


def _weak_probe(draft: Draft) -> Fault | None:
    """A probe asks for less than what its token means, and another journey leaves just that."""
    dice, graph = draft.dice, draft.project.graph()
    choices = []
    for token in graph.establishers:
        (maker,) = graph.establishing(token)
        users = [one for one in draft.ids() if token in graph.required_by(graph.journeys[one])]
        users = [one for one in users if not graph.journeys[one].invalidates]
        before = draft.rests_on(maker)
        others = [
            one
            for one in draft.ids()
            if one != maker and maker not in draft.rests_on(one) and one not in before
        ]
        if users and others:
            choices.append((token, maker, users, others))
    if not choices:
        return None
    token, maker, users, others = dice.choice(choices)
    part, whole = f"{token}-part", f"{token}-whole"
    draft.project.does[maker] += [("write", part), ("write", whole)]
    if token in draft.project.providers:
        draft.project.providers[token] = [*draft.project.providers[token], ("write", part), ("write", whole)]
    draft.project.probes[token] = [part]
    other = dice.choice(others)
    draft.project.does[other] += [("write", part)]
    for user in dice.sample(users, dice.randint(1, len(users))):
        draft.project.does[user] = [("need", whole), *draft.project.does[user]]
    return Fault("weak probe", Code.PROBE_TOO_EARLY, token=token, guilty=other)


def _probe_true(draft: Draft) -> Fault | None:
    token = draft.dice.choice(list(draft.things))
    draft.project.probes[token] = []
    return Fault("probe true", Code.PROBE_TRUE, token=token)


def _provided_with_users(draft: Draft) -> list[tuple[Token, list[JourneyId]]]:
    graph = draft.project.graph()
    found = []
    for token in draft.project.providers:
        users = [one.id for one in graph.journeys.values() if token in graph.required_by(one)]
        if users:
            found.append((token, users))
    return found


def _not_idempotent(draft: Draft) -> Fault | None:
    choices = _provided_with_users(draft)
    if not choices:
        return None
    token, users = draft.dice.choice(choices)
    thing = f"{token}-made"
    provider = draft.project.providers[token]
    if draft.dice.random() < 0.5:
        draft.project.providers[token] = [("lack", thing), ("write", thing), *provider]
    else:  # the second time it goes through, and spoils what a user needs
        draft.project.providers[token] = [*provider, ("toggle", thing)]
        for maker in draft.project.graph().establishing(token):
            draft.project.does[maker] += [("write", thing)]
        user = draft.dice.choice(users)
        draft.project.does[user] = [("need", thing), *draft.project.does[user]]
    return Fault("provider not idempotent", Code.PROVIDER_NOT_IDEMPOTENT, token=token)


def _differs(draft: Draft) -> Fault | None:
    choices = _provided_with_users(draft)
    if not choices:
        return None
    token, users = draft.dice.choice(choices)
    thing = f"{token}-extra"
    for maker in draft.project.graph().establishing(token):
        draft.project.does[maker] += [("write", thing)]
    user = draft.dice.choice(users)
    draft.project.does[user] = [("need", thing), *draft.project.does[user]]
    return Fault("provider differs", Code.PROVIDER_DIFFERS, token=token, journey=user)


def _invalidates(draft: Draft) -> Fault | None:
    project, graph = draft.project, draft.project.graph()
    probed = [token for token in project.probes if project.probes[token] and graph.establishing(token)]
    choices = []
    for token in probed:
        (maker,) = graph.establishing(token)
        choices += [
            (token, one)
            for one in draft.ids()
            if one != maker and one not in draft.rests_on(maker) and not graph.journeys[one].invalidates
        ]
    if not choices:
        return None
    token, journey = draft.dice.choice(choices)
    project.does[journey] += [("delete", draft.dice.choice(project.probes[token]))]
    return Fault("undeclared invalidates", Code.UNDECLARED_INVALIDATES, token=token, journey=journey)


def _polluter(draft: Draft) -> Fault | None:
    pairs = draft.strangers()
    if not pairs:
        return None
    victim, spoiler = draft.dice.choice(pairs)
    thing = f"spoilt-by-{spoiler}"
    draft.project.does[spoiler] += [("write", thing)]
    draft.project.does[victim] = [("lack", thing), *draft.project.does[victim]]
    return Fault("polluter", Code.ORDER_MATTERS, journey=victim, guilty=spoiler)


KINDS: dict[str, Callable[[Draft], Fault | None]] = {
    "need of token": lambda draft: _need(draft, "token"),
    "need of file": lambda draft: _need(draft, "file"),
    "need of leaf": lambda draft: _need(draft, "leaf"),
    "need in database": lambda draft: _need(draft, "row"),
    "weak probe": _weak_probe,
    "probe true": _probe_true,
    "provider not idempotent": _not_idempotent,
    "provider differs": _differs,
    "undeclared invalidates": _invalidates,
    "polluter": _polluter,
}


def _probe_early(draft: Draft) -> Fault | None:
    """A probe asks for what is written first, so that it says yes when half of what a user needs is there."""
    dice, graph, project = draft.dice, draft.project.graph(), draft.project
    choices = []
    for token in graph.establishers:
        users = [one for one in draft.ids() if token in graph.required_by(graph.journeys[one])]
        users = [one for one in users if not graph.journeys[one].invalidates]
        if users:
            choices.append((token, users))
    if not choices:
        return None
    token, users = dice.choice(choices)
    (maker,) = graph.establishing(token)
    part, whole = f"{token}-part", f"{token}-whole"
    place = dice.randrange(len(project.does[maker]) + 1)
    does = [*project.does[maker][:place], ("write", part), *project.does[maker][place:]]
    project.does[maker] = [*does, ("write", whole)]
    if token in project.providers:
        project.providers[token] = [*project.providers[token], ("write", part), ("write", whole)]
    project.probes[token] = [part]
    for user in dice.sample(users, dice.randint(1, len(users))):
        project.does[user] = [("need", whole), *project.does[user]]
    project.copyable.update(draft.things)
    return Fault("probe early", Code.PROBE_TOO_EARLY, token=token, guilty=maker)


THOROUGH_KINDS = {**KINDS, "probe early": _probe_early}
"""What a thorough examination finds; the last kind in chains whose tokens are copyable."""


def is_green(project: Project, *, seed: int = 0) -> bool:
    """Return whether an ordinary run of the project passes."""
    graph = project.graph()
    simulation = Simulation(project, seed=seed)
    return all(
        end.outcome.establishes
        for chain in dict.fromkeys(graph.chains.values())
        for end in simulation.run(Experiment(chain=chain)).ends.values()
    )


def draw(seed: int, kinds: tuple[str, ...], *, least: int = 6, most: int = 14) -> tuple[Project, list[Fault]]:
    """Return a project with one fault of each kind, whose ordinary run is green."""
    for attempt in range(200):
        draft = draw_clean(seed * 1000 + attempt, least=least, most=most)
        faults = [THOROUGH_KINDS[kind](draft) for kind in kinds]
        found = [fault for fault in faults if fault is not None]
        if len(found) == len(kinds) and is_green(draft.project):
            return draft.project, found
    raise AssertionError(f"no project of seed {seed} with {kinds}")


def draw_noisy(seed: int, noise: str, *, least: int = 6, most: int = 14, copyable: bool = False) -> Project:
    """Return a project without a fault, but with noise: flaky, expiring, outside or logs."""
    draft = draw_clean(seed, least=least, most=most, copyable=copyable)
    dice, project = draft.dice, draft.project
    ids = draft.ids()
    if noise == "flaky":
        for one in dice.sample(ids, dice.randint(1, 3)):
            project.flaky[one] = dice.uniform(0.05, 0.4)
    elif noise == "expiring":
        for token, things in draft.things.items():
            if token in project.probes and dice.random() < 0.5:
                project.expiring[things[0]] = dice.uniform(1.5, 15.0)
                project.probes[token] = [*dict.fromkeys([things[0], *project.probes[token]])]
    elif noise == "outside":
        for one in dice.sample(ids, dice.randint(1, 4)):
            project.does[one] += [("outside", f"out-{one}")]
    elif noise == "logs":
        for one in ids:
            project.does[one] += [("log", "app.log")]
    return project


@dataclass(frozen=True)
class Seen:
    """What the examinations of all chains of a project have found. `cost` is in journeys per journey of the project."""

    findings: list[Finding]
    unclear: list[Unclear]
    untested: list[str]
    cost: float
    experiments: int


def examine(
    project: Project,
    *,
    seed: int = 0,
    tested: Sequence[JourneyId] | None = None,
    thorough: bool = False,
    files: bool = True,
    earlier: Sequence[Experiment] = (),
) -> Seen:
    """Examine each chain of a simulated project to the end."""
    graph, simulation = project.graph(), Simulation(project, seed=seed, files=files)
    examinations = [
        Examination(graph, chain, tested=tested, thorough=thorough, earlier=earlier)
        for chain in dict.fromkeys(graph.chains.values())
    ]
    for one in examinations:
        examined(one.run(), simulation)
    return Seen(
        findings=[finding for one in examinations for finding in one.findings],
        unclear=[unclear for one in examinations for unclear in one.unclear],
        untested=[one.untested for one in examinations if one.untested],
        cost=simulation.journeys_run / len(graph.journeys),
        experiments=simulation.experiments,
    )
