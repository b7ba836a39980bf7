"""Text as a database can keep it: file names need not be UTF-8, databases insist."""

from __future__ import annotations

from sqlalchemy import Dialect
from sqlalchemy import Text
from sqlalchemy.types import TypeDecorator

_BYTES = range(0x80, 0x100)
_KEPT = {0xDC00 + byte: 0xEF00 + byte for byte in _BYTES}
_OUT = {there: here for here, there in _KEPT.items()}
_IN = {0: 0xFFFD, **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD), **_KEPT}


class Words(TypeDecorator[str]):
    """Text in which bytes that are no UTF-8, as Python gives them in file names, come back as they were.

    They are kept as private characters; what no database takes, such as NUL, becomes U+FFFD.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        return None if value is None else value.translate(_IN)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - likewise
        return None if value is None else value.translate(_OUT)
