"""The mark `no_doubt`, which says that what `dogfood doubt` may find about a journey is meant to be so."""

from __future__ import annotations

from msgspec import Struct

from pytest_dogfood.journey import Mark

DOUBT_CODES = frozenset(
    {
        "undeclared-requires",
        "undeclared-invalidates",
        "order-matters",
        "provider-not-idempotent",
        "provider-differs",
        "probe-true",
        "probe-too-early",
        "not-repeatable",
    }
)
"""The codes of what may be found when declarations are tested by running; the mark `no_doubt` names some of them."""
NO_DOUBT = "no_doubt"


class NoDoubt(Struct, frozen=True, kw_only=True):
    """The meaning of a mark `no_doubt`: findings of these codes do not count, without codes none does, and why."""

    reason: str
    codes: tuple[str, ...] = ()


def read_no_doubt(mark: Mark) -> NoDoubt:
    """Return the meaning of a mark `no_doubt`; raises ValueError that says what is wrong with it."""
    given = {**dict(zip(("reason", "codes"), mark.args, strict=False)), **mark.kwargs}
    if more := [*map(repr, mark.args[2:]), *(given.keys() - {"reason", "codes"})]:
        raise ValueError(f"takes a reason and codes, and not {more[0]}")
    reason, codes = given.get("reason"), given.get("codes", ())
    if not isinstance(reason, str) or not reason.strip():
        raise ValueError("gives no reason")
    several = (codes,) if isinstance(codes, str) else codes
    if not isinstance(several, list | tuple | set | frozenset) or ("codes" in given and not several):
        raise ValueError(f"takes a list of codes, and not {codes!r}")
    if unknown := [code for code in several if not (isinstance(code, str) and code in DOUBT_CODES)]:
        raise ValueError(f"names {unknown[0]!r}, which is no code of a finding")
    return NoDoubt(reason=reason.strip(), codes=tuple(sorted(several)))
