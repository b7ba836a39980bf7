"""Recorded runs made of a few words: journeys with an outcome each, what they printed, and what went wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec.structs import replace

from pytest_dogfood.diagnostics import Location
from pytest_dogfood.journey import Capability, Journey, JourneyId, Step, Token
from pytest_dogfood.outcomes import Cause, JourneyResult, Outcome, Proof
from pytest_dogfood.storage.record import (
    Activity,
    GraphRecord,
    Kind,
    LostMachine,
    RecordedRun,
    RunRecord,
    StepRecord,
    Versions,
    WrongRecord,
)

BEGAN = 1_796_000_000.0
BAD = (Outcome.FAILED, Outcome.ERROR, Outcome.CRASHED)


class Told:
    """Collects what a run did, one journey after the other on each of its workers, a second each."""

    def __init__(
        self, directory: Path = Path("/nowhere"), *, workers: int = 2, exit_status: int | None = None
    ) -> None:
        self.directory = directory
        self._workers = workers
        self._exit_status = exit_status
        self._journeys: list[Journey] = []
        self._activities: list[Activity] = []
        self._results: dict[JourneyId, JourneyResult] = {}
        self._capabilities: list[Capability] = []

    def capability(self, one: Capability) -> Told:
        self._capabilities.append(one)
        return self

    def journey(
        self,
        name: str,
        outcome: Outcome | None = Outcome.PASSED,
        *,
        requires: str = "",
        establishes: str = "",
        because: str = "",
        steps: int = 2,
        out: str = "",
        err: str = "",
        command: str = "make it",
        text: str = "",
        python: bool = False,
        seconds: float = 1.0,
    ) -> Told:
        number, place = len(self._journeys), Location("shop.journey.yaml", len(self._journeys) + 1, 5)
        self._journeys.append(
            Journey(
                id=JourneyId(name),
                path=place.path,
                nodeid=name if python else f"{place.path}::{name}",
                location=place,
                requires={Token(one): place for one in requires.split()},
                establishes={Token(one): place for one in establishes.split()},
                steps=(),
                python=python,
            )
        )
        if outcome is None:
            return self
        began = BEGAN + number // self._workers * seconds
        failed = outcome in {Outcome.FAILED, Outcome.CRASHED}
        ran = outcome in {Outcome.PASSED, Outcome.FAILED, Outcome.CRASHED} and not python
        self._activities.append(
            Activity(
                id=name,
                kind=Kind.JOURNEY,
                lane=f"gw{number % self._workers}",
                started=began,
                seconds=seconds * 0.9 if ran or python else 0.01,
                outcome=outcome,
                text=text,
                again=f"pytest --dogfood '{name}'" if outcome in BAD else "",
                steps=tuple(
                    StepRecord(
                        place=str(place),
                        number=one,
                        of=steps,
                        started=began + one * 0.1,
                        seconds=0.1,
                        intent=f"do part {one}" if one % 2 else "",
                        command=command,
                        exit=int(failed and one == steps),
                        out=self._file(f"{number}-{one}.out", out),
                        err=self._file(f"{number}-{one}.err", err),
                        wrong=(WrongRecord("exit status", "0", "1"),) if failed and one == steps else (),
                    )
                    for one in range(1, steps + 1)
                )
                if ran
                else (),
            )
        )
        self._results[JourneyId(name)] = JourneyResult(
            id=JourneyId(name),
            outcome=outcome,
            cause=Cause(who=because, why="failed") if because else None,
            proofs={Token(one): Proof.JOURNEY for one in establishes.split()} if outcome.establishes else {},
        )
        return self

    def also(self, *activities: Activity) -> Told:
        self._activities.extend(activities)
        return self

    def _file(self, name: str, text: str) -> str:
        if text:
            (self.directory / name).write_text(text, encoding="utf-8", errors="surrogatepass")
        return name if text else ""

    def run(self, others: Mapping[str, int] | None = None) -> RecordedRun:
        outcomes = [
            *(one.outcome for one in self._results.values()),
            *(one.outcome for one in self._activities),
        ]
        bad = any(one.is_bad for one in outcomes)
        makers: dict[Token, list[JourneyId]] = {}
        for one in self._journeys:
            for token in one.establishes:
                makers.setdefault(token, []).append(one.id)
        return RecordedRun(
            directory=self.directory,
            run=RunRecord(
                id="abc123",
                project="shop",
                root="/home/ada/shop",
                started=BEGAN,
                argv=("--dogfood", "-n", str(self._workers)),
                workers=self._workers,
                versions=Versions(dogfood="0.1", pytest="9.2.0", python="3.14.0", platform="Linux"),
                commit="2b56f71c0ffee",
                exit_status=int(bad) if self._exit_status is None else self._exit_status,
                seconds=len(self._journeys) / self._workers,
                closing_line=f"dogfood: {len(self._journeys)} journeys",
                others=others or {},
            ),
            graph=GraphRecord(
                journeys=tuple(self._journeys),
                capabilities=tuple(self._capabilities),
                fixtures={},
                digests={one.id: "0123" for one in self._journeys},
                after={one.id: tuple(before_of(one.requires, makers)) for one in self._journeys},
            ),
            activities=tuple(self._activities),
            results=self._results,
        )


def before_of(tokens: Iterable[Token], makers: Mapping[Token, list[JourneyId]]) -> Iterable[JourneyId]:
    for token in tokens:
        yield from makers.get(token, ())


def a_bit_of_everything(directory: Path) -> RecordedRun:
    """Return a run with each outcome, set-up, a replay, a clean-up, a second try, and tests outside of the graph."""
    told = Told(directory)
    told.capability(
        Capability(token=Token("mail-up"), location=Location("dogfood.yaml", 3, 5), provision=(MAIL,))
    )
    told.journey("build", establishes="built", out="building\n")
    told.journey("health", out="\n".join(f"line {number}" for number in range(40)))
    told.journey("bundle", Outcome.FAILED, requires="built", establishes="bundled", err="fatal: nothing\n")
    told.journey("clone", Outcome.DEFERRED, requires="bundled", because="bundle")
    told.journey("archive", Outcome.DEFERRED, requires="bundled", establishes="archived", because="bundle")
    told.journey(
        "announce", Outcome.ERROR, requires="built mail-up", text="'mail-up' could not be provisioned"
    )
    told.journey("killer", Outcome.CRASHED, out="about to die")
    told.journey("test_shop.py::test_price", requires="built", python=True)
    told.journey("test_shop.py::test_known[<b>]", Outcome.XFAILED, python=True)
    told.journey("later", Outcome.SKIPPED)
    failed = StepRecord(
        place="dogfood.yaml:4:9",
        number=1,
        of=1,
        command="mailsrv",
        exit=127,
        wrong=(WrongRecord("exit status", "0", "127"),),
    )
    good = StepRecord(
        place="dogfood.yaml:9:9", number=1, of=1, command="true", exit=0, saved={"TAG": "1", "KEY": None}
    )
    began = BEGAN + 2.5
    told.also(
        Activity(
            id="mail-up",
            kind=Kind.PROVISION,
            lane="gw1",
            started=began,
            seconds=0.2,
            outcome=Outcome.FAILED,
            for_="announce",
            how="by its provision steps",
            steps=(failed,),
        ),
        *(
            Activity(
                id=name,
                kind=kind,
                lane="gw0",
                started=BEGAN + 1.1,
                seconds=0.3,
                outcome=outcome,
                for_="bundle",
                steps=(good,),
            )
            for kind, name, outcome in (
                (Kind.PROBE, "built", Outcome.FAILED),
                (Kind.REPLAY, "build", Outcome.PASSED),
                (Kind.RELEASE, "built", Outcome.PASSED),
                (Kind.CLEANUP, "bundle", Outcome.PASSED),
            )
        ),
        Activity(
            id="bundle",
            kind=Kind.REPLAY,
            lane="gw1",
            started=BEGAN + 1,
            seconds=0.005,
            outcome=Outcome.FAILED,
            for_="clone",
            steps=(failed,),
        ),
        Activity(
            id="built",
            kind=Kind.PROVISION,
            lane="gw1",
            started=BEGAN + 0.1,
            seconds=0.4,
            outcome=Outcome.PASSED,
            for_="health",
            how="by its provision steps",
            steps=(good,),
        ),
        Activity(
            id="build",
            kind=Kind.JOURNEY,
            lane="gw0",
            started=BEGAN + 6,
            seconds=0.5,
            outcome=Outcome.PASSED,
            attempt=2,
        ),
        *(
            Activity(
                id="test_plain.py::test_sum",
                kind=Kind.TEST,
                lane="gw1",
                started=BEGAN + 5,
                seconds=0.1,
                outcome=Outcome.FAILED,
                text=text,
                again="pytest test_plain.py::test_sum",
            )
            for text in ("assert 1 == 2", "and its teardown failed")
        ),
    )
    return told.run({"failed": 1, "passed": 3})


MAIL = Step(location=Location("dogfood.yaml", 4, 9), run="mailsrv")


def with_a_lost_machine(recorded: RecordedRun) -> RecordedRun:
    """Let a run be that of two machines, by worker, of which the first was lost; another one was lost at once."""
    names = {"gw0": "blue-92d0, gw0"}
    said = "lost after 41 s; 1 item taken over by red-07fa"
    taken = next(one for one in recorded.activities if one.kind is Kind.JOURNEY and one.lane == "gw1")
    return replace(
        recorded,
        run=replace(recorded.run, shard="2 machines"),
        activities=tuple(
            replace(one, lane=names.get(one.lane, f"red-07fa, {one.lane}")) for one in recorded.activities
        ),
        lost=(
            LostMachine(name="blue-92d0", at=1.5, said=said),
            LostMachine(name="white-0001", at=1.7, said="lost after 3 s"),
        ),
        taken_over={taken.id: "blue-92d0"},
    )
