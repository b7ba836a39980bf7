"""Things to judge and a bench to work at, without any process."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_dogfood.actor_protocol import Action, Answer, Command, Performed, Verdict, Whose
from pytest_dogfood.actors.loop import Limits
from pytest_dogfood.execution.expectations import CommandInStep, Observation, Stream, TooLarge
from pytest_dogfood.execution.runner import Grade
from pytest_dogfood.journey import Step

SECRET = "hunter2"  # noqa: S105 - an invented one


@dataclass(slots=True, kw_only=True)
class FakeSeen:
    """What a step left, as written here; `too_large` names streams and files that nobody reads."""

    status: int = 0
    timed_out: bool = False
    limit: float = 5.0
    stdout: str = ""
    stderr: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    too_large: tuple[str, ...] = ()
    seconds: float = 0.1
    left: float = 5.0
    ended_at: CommandInStep | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    learnt: list[str] = field(default_factory=list)
    finished: bool = False

    def text(self, stream: Stream) -> str:
        self._refuse(stream)
        return self.stdout if stream == "stdout" else self.stderr

    def mask(self, text: str) -> str:
        return text.replace(SECRET, "***")

    def file(self, path: str) -> str | None:
        self._refuse(path)
        return self.files.get(path)

    def tail(self, stream: Stream) -> str:
        return self.stdout if stream == "stdout" else self.stderr

    def masked_tail(self, stream: Stream) -> str:
        return self.mask(self.tail(stream))

    def learn(self, secrets: Sequence[str]) -> None:
        self.learnt.extend(secrets)

    def finish(self, *, withheld: Collection[Stream] = ()) -> None:
        assert set(withheld) <= {"stdout", "stderr"}
        assert not self.finished, "a step is finished once"
        self.finished = True

    def _refuse(self, what: str) -> None:
        if what in self.too_large:
            raise TooLarge(f"9 MB of {what}")


@dataclass(slots=True)
class FakeRunner:
    """Answers steps with observations in the order given, and remembers what it was asked."""

    answers: list[FakeSeen]
    asked: list[tuple[Step, dict[str, str], float | None]] = field(default_factory=list)

    def run(self, step: Step, *, number: int, variables: Mapping[str, str], limit: float | None) -> FakeSeen:
        assert number >= 1
        self.asked.append((step, dict(variables), limit))
        return self.answers[len(self.asked) - 1]

    def mask(self, text: str) -> str:
        return text


@dataclass(slots=True, kw_only=True)
class FakeSession:
    """An actor that answers what is written here, and commands that come to what is written here.

    `outcomes` maps a command to what it leaves, a good end if it is not named; `verdict` is what the judge says.
    """

    answers: list[Answer]
    outcomes: Mapping[str, FakeSeen] = field(default_factory=dict)
    verdict: Verdict | None = None
    limits: Limits = field(default_factory=lambda: Limits(actions=10, turns=10))
    begun: list[tuple[int, str, dict[str, str]]] = field(default_factory=list)
    asked: list[tuple[Action, ...]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    limits_given: list[float | None] = field(default_factory=list)
    seen: list[FakeSeen] = field(default_factory=list)
    judged: list[tuple[Action, ...]] = field(default_factory=list)
    learnt: list[str] = field(default_factory=list)
    grades: dict[int, Grade] = field(default_factory=dict)
    recorded: list[tuple[int, str]] = field(default_factory=list)

    def begin(self, step: Step, number: int, *, variables: Mapping[str, str]) -> None:
        self.begun.append((number, step.intent, dict(variables)))

    def next(self, actions: Sequence[Action]) -> Answer:
        self.asked.append(tuple(actions))
        return self.answers[len(self.asked) - 1]

    def do(self, answer: Command | Performed, *, limit: float | None) -> Observation:
        if isinstance(answer, Performed):
            self.seen.append(FakeSeen(status=answer.exit, stdout=answer.stdout))
        else:
            self.done.append(answer.run)
            self.limits_given.append(limit)
            self.seen.append(replace(self.outcomes.get(answer.run) or FakeSeen()))
        return self.seen[-1]

    def in_step_directory(self, seen: Observation) -> Observation:
        return seen

    def learn(self, secrets: Iterable[str]) -> None:
        self.learnt.extend(secrets)

    def describe(self, step: int, command: str, seen: Observation, *, by: Whose = "actor") -> Action:
        return Action(step=step, command=command, exit=seen.status, stdout=seen.masked_tail("stdout"), by=by)

    def judge(self, actions: Sequence[Action]) -> Verdict | None:
        self.judged.append(tuple(actions))
        return self.verdict

    def record(self, step: int, command: str, seen: Observation) -> None:
        self.recorded.append((step, f"{command}: {seen.status}"))

    def note_grade(self, number: int, result: Grade) -> None:
        self.grades[number] = result
