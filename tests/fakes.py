"""Things to judge and a bench to work at, without any process."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from pytest_dogfood.journey import Step
from pytest_dogfood.judgement import Stream
from pytest_dogfood.judgement import TooMuchToJudge

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
    finished_with: list[str] | None = None

    def text(self, stream: Stream) -> str:
        self._refuse(stream)
        return self.stdout if stream == "stdout" else self.stderr

    def mask(self, text: str) -> str:
        return text.replace(SECRET, "***")

    def file(self, path: str) -> str | None:
        self._refuse(path)
        return self.files.get(path)

    def tail(self, stream: str) -> str:
        return self.stdout if stream == "stdout" else self.stderr

    def finish(self, secrets: Sequence[str]) -> None:
        assert self.finished_with is None, "a step is finished once"
        self.finished_with = list(secrets)

    def _refuse(self, what: str) -> None:
        if what in self.too_large:
            raise TooMuchToJudge(f"9 MB of {what}")


@dataclass(slots=True)
class FakeBench:
    """Answers steps with observations in the order given, and remembers what it was asked."""

    answers: list[FakeSeen]
    asked: list[tuple[Step, dict[str, str], float | None]] = field(default_factory=list)

    def run(self, step: Step, *, number: int, variables: Mapping[str, str], limit: float | None) -> FakeSeen:
        assert number >= 1
        self.asked.append((step, dict(variables), limit))
        return self.answers[len(self.asked) - 1]

    def mask(self, text: str) -> str:
        return text
