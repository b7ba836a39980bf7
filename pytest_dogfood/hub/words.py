"""Text as a database can keep it: file names need not be UTF-8, ids may hold any letter, databases insist."""

from __future__ import annotations

import re

from sqlalchemy import Dialect, Text
from sqlalchemy.types import TypeDecorator

# Bytes that are no UTF-8 come from Python as surrogates, which no database takes: they are kept as private letters.
_BYTES = {0xDC00 + byte: chr(0xEF00 + byte) for byte in range(0x80, 0x100)}
_MARK = "\uef00"
# Whoever writes these letters means them, such as the icons of some fonts: the mark tells them from bytes, and is
# itself told from a mark. What else no database takes, NUL and other surrogates, is kept as its number.
_MEANT = {ord(letter): _MARK + letter for letter in (_MARK, *_BYTES.values())}
_NUMBERED = {code: f"{_MARK}{code:04X}" for code in (0, *range(0xD800, 0xE000)) if code not in _BYTES}
_IN = {**_BYTES, **_MEANT, **_NUMBERED}
_OUT = re.compile(f"{_MARK}([{_MARK}\uef80-\uefff])|{_MARK}([0-9A-F]{{4}})|([\uef80-\uefff])")


class Words(TypeDecorator[str]):
    """Text that comes back as it was, whatever letters and bytes are in it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        return None if value is None else value.translate(_IN)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - likewise
        # Nearly all of it is, and that is quickly seen.
        return value if value is None or value.isascii() else _OUT.sub(_as_it_was, value)


def _as_it_was(found: re.Match[str]) -> str:
    meant, number, byte = found.groups()
    if number:
        return chr(int(number, 16))
    return meant or chr(ord(byte) - 0xEF00 + 0xDC00)
