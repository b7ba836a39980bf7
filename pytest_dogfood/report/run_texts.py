"""Texts of a run made harmless to show: outputs read with a limit, control characters as pictures, nothing hidden."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from msgspec import Struct

from pytest_dogfood.execution.output import terminal_text

LONGEST = 64 * 1024
"""Bytes of a text that are shown whole."""

FIRST, LAST = 16 * 1024, 48 * 1024
"""How many bytes of a longer one are shown from its beginning and its end."""

HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that change the direction of text (Unicode, UAX 9), and what is no character at all."""


class OutputText(Struct, frozen=True, omit_defaults=True):
    """What a step printed; of `size` bytes the middle may be left out. `gone` tells that it was not kept."""

    text: str = ""
    size: int = 0
    gone: bool = False


def shown(text: str) -> str:
    """Return a text with pictures or numbers in the place of characters that cannot be seen, or hide others."""

    def picture(found: re.Match[str]) -> str:
        number = ord(found[0])
        if number < 0x20:
            return chr(0x2400 + number)
        return "\u2421" if number == 0x7F else f"<U+{number:04X}>"

    return HIDDEN.sub(picture, text)


def text_of(directory: Path, name: str) -> OutputText:
    """Read an output of a step, a regular file named relative to the run's directory, and nothing outside of that."""
    if not name:
        return OutputText()
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        if name.startswith("/") or ".." in name.split("/"):
            return OutputText(gone=True)
        with open(os.open(f"{directory}/{name}", flags), "rb") as file:  # noqa: PTH123 - the descriptor carries flags
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                return OutputText(gone=True)
            size = found.st_size
            data = file.read(LONGEST if size <= LONGEST else FIRST)
            if size <= LONGEST:
                return OutputText(shown(terminal_text(data)), size)
            file.seek(size - LAST)
            end = file.read(LAST)
    except OSError:
        return OutputText(gone=True)
    first, last = terminal_text(data), terminal_text(end)
    middle = f"\n… {size - FIRST - LAST} bytes are left out here …\n"
    return OutputText(shown(first) + middle + shown(last), size)
