"""Prints the reports of a run as they come and, however the run ends, what all of them come to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self, TextIO

from pytest_dogfood.cli.consistency_report import closing_line, findings_of, in_json, is_left, report_lines
from pytest_dogfood.cli.streams import OutputLostError, Palette
from pytest_dogfood.consistency.checkout_view import RepoReport
from pytest_dogfood.hub.errors import INTERRUPTED, REFUSED, HubError
from pytest_dogfood.hub.printing import Counting, write_json, write_lines


class Telling:
    """The output of one run. A hub that cannot be had, or Ctrl-C, ends it with the counts of what came before.

    As JSON there is exactly one document, also where the run ends before it began. Output that does not arrive
    ends it with OutputLostError.
    """

    def __init__(self, *, as_json: bool, strict: bool) -> None:
        self.progress = Counting()
        self._as_json = as_json
        self._strict = strict
        self._palette = Palette(sys.stdout)
        self._seen: list[RepoReport] = []
        self._lost: OutputLostError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.clear()
        if error is None:
            self._end(self.status)
        elif isinstance(error, HubError):
            self._end(error.exit_status, str(error))
        elif isinstance(error, KeyboardInterrupt):
            self._end(INTERRUPTED, "interrupted")
        if self._lost is not None and error is None:
            raise self._lost

    @property
    def status(self) -> int:
        """Give the exit status that the findings so far ask for."""
        return REFUSED if any(is_left(each, strict=self._strict) for each in findings_of(self._seen)) else 0

    def tell(self, reports: Iterable[RepoReport], *, to_the_end: bool = False) -> None:
        """Print each report as soon as it is there; go on `to_the_end` also where nothing can be printed any more."""
        for report in reports:
            self._seen.append(report)
            self.progress.clear()
            if not self._as_json:
                self._print(report_lines(report, self._palette))
            if self._lost is not None and not to_the_end:
                return

    def notice(self, text: str) -> None:
        """Tell people something at once; the output of a program that reads JSON stays clean."""
        self.progress.clear()
        self._print([text], sys.stderr if self._as_json else sys.stdout)

    def _print(self, lines: Iterable[str], stream: TextIO | None = None) -> None:
        self._attempt(lambda: write_lines(lines, stream))

    def _attempt(self, write: Callable[[], None]) -> None:
        """Print, unless that has failed before: what is under way is not to stop halfway for it."""
        if self._lost is None:
            try:
                write()
            except OutputLostError as error:
                self._lost = error

    def _end(self, status: int, error: str = "") -> None:
        if self._as_json:
            self._attempt(lambda: write_json(**in_json(self._seen, exit_status=status, error=error)))
        elif self._seen or not error:
            cut_short = "; interrupted" if status == INTERRUPTED else ""
            self._print([closing_line(self._seen, self._palette) + cut_short])
