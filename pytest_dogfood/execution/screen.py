r"""What a terminal shows of an output in the end: text that was written over, as by progress bars, is gone.

Understood are carriage returns, backspaces and the sequences that move the cursor or erase. Colours, titles and other
sequences are left out. What came before a program first clears the screen or moves to its top stays above it, as what
a terminal has scrolled away. Control characters that a terminal would not show are given by name, such as `\x00`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_ESCAPE = re.compile(
    r"\x1b\[(?P<parameters>[0-?]*)[ -/]*(?P<final>[@-~])"  # colours and cursor movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # window titles and links
    r"|\x1b[PX^_][^\x1b]*\x1b\\"  # strings for devices and programs
    r"|\x1b[ -/]*[0-~]"  # everything short
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MOVES = re.compile(r"[\r\b]|\x1b\[[0-?]*[@A-HJKPXf]")
_PARTS = re.compile(rf"(?P<text>[^\x00-\x1f\x7f-\x9f]+)|{_ESCAPE.pattern}|(?P<control>[\x00-\x1f\x7f-\x9f])")

_WIDEST, _HIGHEST = 256, 256
"""How far a sequence moves the cursor at most; one of a few bytes must not ask for megabytes of blanks."""

_TAB = 8


def moves_cursor(text: str) -> bool:
    """Return whether some of the text may be written over."""
    return _MOVES.search(text.replace("\r\n", "\n")) is not None


def shown_in_the_end(text: str) -> str:
    """Return what a terminal would show once all of the text has been written to it; harmless to print."""
    text = text.replace("\r\n", "\n")
    if not moves_cursor(text):
        return _CONTROL.sub(lambda found: _named(found[0]), _ESCAPE.sub("", text))
    screen = _Screen()
    for part in _PARTS.finditer(text):
        if part["text"]:
            screen.write(list(part["text"]))
        elif part["final"]:
            screen.apply_control(part["final"], part["parameters"])
        elif part["control"]:
            screen.control(part["control"])
    return "\n".join(screen.lines())


def _named(letter: str) -> str:
    return f"\\x{ord(letter):02x}"


class _Screen:
    """Rows of cells, and where the cursor is. `_top` is the row that a program has moved to as the first one."""

    def __init__(self) -> None:
        self._rows: list[list[str]] = [[]]
        self._row = 0
        self._column = 0
        self._top: int | None = None

    def lines(self) -> Iterator[str]:
        """Yield the rows from the first on, those that were scrolled away too."""
        yield from ("".join(row) for row in self._rows)

    def write(self, cells: list[str]) -> None:
        row = self._rows[self._row]
        row.extend(" " * (self._column - len(row)))
        row[self._column : self._column + len(cells)] = cells
        self._column += len(cells)

    def control(self, letter: str) -> None:
        if letter == "\n":
            self._row += 1
            self._column = 0
            if self._row == len(self._rows):
                self._rows.append([])
        elif letter == "\r":
            self._column = 0
        elif letter == "\b":
            self._column = max(self._column - 1, 0)
        elif letter == "\t":
            self._tabulate()
        else:
            self.write([_named(letter)])

    def _tabulate(self) -> None:
        row = self._rows[self._row]
        if self._column == len(row) and "\t" not in row:
            self.write([" "] * (_TAB - self._column % _TAB))
        else:
            self._move(column=self._column + _TAB - self._column % _TAB)

    def apply_control(self, final: str, parameters: str) -> None:
        """Do what a control sequence says; one that neither moves nor erases changes nothing that is shown."""
        numbers = [
            int(number[:6]) for number in parameters.split(";") if number.isascii() and number.isdigit()
        ]
        count = max(numbers[0] if numbers else 1, 1)
        if final in "AF":
            self._move(row=self._row - count, column=0 if final == "F" else None)
        elif final in "BE":
            self._move(row=self._row + count, column=0 if final == "E" else None)
        elif final in "CD":
            self._move(column=self._column + (count if final == "C" else -count))
        elif final == "G":
            self._move(column=count - 1)
        elif final in "Hf":
            self._to_place(count, numbers[1] if len(numbers) > 1 else 1)
        elif final in "JK":
            self._erase(final, numbers[0] if numbers else 0)
        elif final in "PX@":
            self._edit(final, min(count, _WIDEST))

    def _move(self, *, row: int | None = None, column: int | None = None) -> None:
        if row is not None:
            self._row = min(max(row, self._top or 0), len(self._rows) - 1)
        if column is not None:
            self._column = min(max(column, 0), max(_WIDEST, len(self._rows[self._row])))

    def _to_place(self, line: int, column: int) -> None:
        top = self._started_at()
        row = top + min(line, _HIGHEST) - 1
        self._rows.extend([] for _ in range(row + 1 - len(self._rows)))
        self._move(row=row, column=column - 1)

    def _started_at(self) -> int:
        """Return the first row of the screen; it begins below what is there when it is first asked for."""
        if self._top is None:
            if any(self._rows[-1]):
                self._rows.append([])
            self._top = len(self._rows) - 1
            self._move(row=self._top)
        return self._top

    def _erase(self, final: str, what: int) -> None:
        """Erase of a row (K) or of the screen (J): what follows (0), what is before (1), or all of it (2 and 3)."""
        if final == "J" and what >= 2:
            del self._rows[self._started_at() + 1 :]
            self._rows[-1].clear()
            self._rows.extend([] for _ in range(self._row + 1 - len(self._rows)))
            return
        row = self._rows[self._row]
        if what == 0:
            del row[self._column :]
        elif what == 1 and self._column + 1 < len(row):
            row[: self._column + 1] = " " * (self._column + 1)
        else:
            row.clear()
        if final == "J" and what == 0:
            del self._rows[self._row + 1 :]

    def _edit(self, final: str, count: int) -> None:
        """Delete (P), blank (X) or insert (@) characters at the cursor."""
        row = self._rows[self._row]
        here = slice(self._column, self._column + count)
        if final == "P":
            del row[here]
        elif final == "X":
            row[here] = " " * len(row[here])
        elif self._column < len(row):
            longest = max(len(row), _WIDEST)
            row[self._column : self._column] = " " * count
            del row[longest:]
