"""Random projects that are sound by construction: whatever is lost can be had again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

from tests.ordinary.model import FAILS, HANGS, LEAVES, TIERS, UNCLEAN, Item, Model, Token

LOCKS = ("gpu", "door")


def random_model(dice: Random, *, least: int = 5, most: int = 10) -> Model:
    """Return a project: every token has a rank; items below it may establish it, the others may need it."""
    count = dice.randint(least, most)
    names = [f"t{number}" for number in range(dice.randint(count // 2, count - 1))]
    ranks = dict(zip(names, sorted(dice.randrange(count) for _ in names), strict=True))
    makers = {
        name: dice.sample(range(rank), min(rank, dice.choice([0, 1, 1, 1, 2])))
        for name, rank in ranks.items()
    }
    tokens: list[Token] = []
    for name in names:
        tokens.append(_random_token(dice, name, tokens, established=bool(makers[name])))
    items = [
        _random_item(dice, number, ranks, [name for name in names if number in makers[name]])
        for number in range(count)
    ]
    dice.shuffle(items)
    model = Model(items=tuple(items), tokens=tuple(tokens))
    model = _with_destroyers(_with_fixtures_for_leaves_only(model), dice)
    model = _with_python_tests(model, dice)
    return _without_gates_that_wait_for_later_tiers(model)


def _random_token(dice: Random, name: str, below: list[Token], *, established: bool) -> Token:
    die = dice.random()
    service = not established and die < 0.35
    provision = not service and die < (0.2 if established else 0.9)
    machine = dice.random() < 0.35
    if not established and not machine and dice.random() < 0.15:
        return Token(name=name, fixture=True, probe=dice.random() < 0.5)
    # A provider that needs something stands alone here: what may be provided or replayed must give the same.
    reachable = [token.name for token in below if not token.fixture and (token.machine or not machine)]
    needy = (service or provision) and not established and reachable and dice.random() < 0.6
    return Token(
        name=name,
        machine=machine,
        probe=service or not (established or provision) or dice.random() < 0.5,
        provision=provision,
        service=service,
        needs=(dice.choice(reachable),) if needy else (),
        locks=(dice.choice(LOCKS),) if (service or provision) and dice.random() < 0.15 else (),
    )


def _random_item(dice: Random, number: int, ranks: dict[str, int], establishes: list[str]) -> Item:
    wishes = [name for name, rank in ranks.items() if rank <= number and name not in establishes]
    near = wishes[-3:] if dice.random() < 0.5 else wishes
    mark = dice.choice(["skip", "xfail"]) if dice.random() < 0.06 else ""
    faults = [FAILS, LEAVES] if mark else [FAILS, FAILS, FAILS, LEAVES, LEAVES, LEAVES, UNCLEAN, HANGS]
    return Item(
        id=f"j{number}",
        file=f"part{dice.randrange(3)}.journey.yaml",
        requires=tuple(dice.sample(near, min(len(near), dice.choice([0, 1, 1, 2, 3])))),
        establishes=tuple(establishes),
        locks=tuple(sorted(dice.sample(LOCKS, dice.choice([1, 1, 2])))) if dice.random() < 0.2 else (),
        tier=dice.choice(["core", "core", "core", *TIERS]),
        gating=dice.random() < 0.1,
        mark=mark,
        fault=dice.choice(faults) if dice.random() < 0.18 else "",
    )


def _with_fixtures_for_leaves_only(model: Model) -> Model:
    """Let nothing that may be replayed need a fixture, which lives in one item."""
    provided = {token.name for token in model.tokens if token.fixture}
    items = [
        replace(
            item, requires=tuple(one for one in item.requires if not (item.establishes and one in provided))
        )
        for item in model.items
    ]
    return replace(model, items=tuple(items))


def _with_destroyers(model: Model, dice: Random) -> Model:
    """Let some items destroy a token: any one if they establish nothing, else one that they use up."""
    items: list[Item] = []
    for item in model.items:
        uses_up = [name for name in item.requires if not model.token(name).machine]
        victims = uses_up if item.establishes else [token.name for token in model.tokens if not token.fixture]
        destroys = victims and not item.mark and dice.random() < 0.15
        items.append(replace(item, invalidates=(dice.choice(victims),)) if destroys else item)
    changed = replace(model, items=tuple(items))
    if all(Rehearsal(changed).holds(order) for order in _orders(changed, dice)):
        return changed
    harmless = tuple(replace(one, invalidates=()) if one.establishes else one for one in changed.items)
    return replace(changed, items=harmless)


def _orders(model: Model, dice: Random) -> Iterator[list[Item]]:
    yield from ([item] for item in model.items)
    for _ in range(4):
        left = dice.sample(model.items, len(model.items))
        order: list[Item] = []
        while left:
            waiting = {item.id for item in left}
            ready = next(item for item in left if not model.before(item.id) & waiting - {item.id})
            left.remove(ready)
            order.append(ready)
        yield order


@dataclass
class Rehearsal:
    """One state in memory, in which items are run without any fault."""

    model: Model
    present: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def holds(self, order: list[Item]) -> bool:
        """Return whether every item finds what it requires, within two rounds of looking for it."""
        self.present.clear()
        return all(self._run(item) for item in order)

    def _run(self, item: Item) -> bool:
        if not self._obtain(item.requires):
            return False
        for token in item.invalidates:
            self._lose(token)
        self.present.update(dict.fromkeys(item.establishes, item.bases))
        return True

    def _obtain(self, tokens: tuple[str, ...]) -> bool:
        for _ in range(2):
            lacking = [token for token in tokens if token not in self.present]
            if not lacking:
                return True
            # What nothing can bring about is an error of its own kind: nothing is lost on the way to it.
            if not all(token in self.present or self._make(token) for token in tokens):
                return False
        return all(token in self.present for token in tokens)

    def _make(self, name: str) -> bool:
        token = self.model.token(name)
        if token.provided:
            made = self._obtain(token.needs)
            self.present[name] = token.needs
            return made
        makers = self.model.establishers(name)
        if not makers:
            self.present[name] = ()
        return not makers or self._run(makers[0])

    def _lose(self, name: str) -> None:
        self.present.pop(name, None)
        for other, bases in list(self.present.items()):
            if name in bases:
                self._lose(other)


def _with_python_tests(model: Model, dice: Random) -> Model:
    """Write some items as Python tests, which cannot be replayed: what they establish is never lost."""
    below_providers = {
        name for token in model.tokens for need in token.needs for name in _makers_below(model, need)
    }
    lost = [token.name for token in model.tokens if model.destroyers(token.name)]
    fragile = {token.name for token in model.tokens if model.bases(token.name) & {*lost}} | {*lost}
    to_repeat = below_providers | {name for token in fragile for name in _makers_below(model, token)}
    items = [
        replace(item, file=f"test_{'ab'[dice.randrange(2)]}.py", locks=())
        if item.id not in to_repeat and _could_be_a_test(item) and dice.random() < 0.4
        else item
        for item in model.items
    ]
    return replace(model, items=tuple(items))


def _makers_below(model: Model, token: str) -> set[str]:
    makers = {item.id for item in model.establishers(token)}
    return makers.union(*(model.before(name) for name in makers))


def _could_be_a_test(item: Item) -> bool:
    return item.tier == "core" and not item.gating and item.fault != HANGS


def _without_gates_that_wait_for_later_tiers(model: Model) -> Model:
    def waits(item: Item) -> bool:
        tiers = [model.item(name).tier for name in model.before(item.id)]
        return any(TIERS.index(tier) > TIERS.index(item.tier) for tier in tiers)

    items = [
        replace(item, gating=item.gating and not item.invalidates and not waits(item)) for item in model.items
    ]
    return replace(model, items=tuple(items))
