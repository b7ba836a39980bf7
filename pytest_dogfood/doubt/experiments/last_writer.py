"""A first guess at which journey matters: the one that last wrote the file that a failure names.

It is only a guess, which a run must prove. It saves runs, since without it the candidates are halved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pytest_dogfood.journey import JourneyId


def last_writer(
    text: str, candidates: Sequence[JourneyId], written: Mapping[JourneyId, Sequence[str]]
) -> JourneyId | None:
    """Return the last of the candidates, in their order, that wrote or removed the file that a failure's text names.

    If it names several, the longest path counts. `written` has the files of each journey, relative to the state.
    """
    named = {
        path
        for one in candidates
        for path in written.get(one, ())
        if path in text and re.search(rf"(?<![\w.-]){re.escape(path)}(?![\w-])", text)
    }
    if not named:
        return None
    path = max(named, key=lambda one: (len(one), one))
    return next(one for one in reversed(candidates) if path in written.get(one, ()))
