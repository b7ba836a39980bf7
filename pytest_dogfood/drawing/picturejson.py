"""A picture as published JSON, there and back.

Version 1: `version`, `focus`, `journeys`, `providers`, `links`, `chains`, `critical_path`, `critical_seconds`.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from pytest_dogfood.drawing.picture import Picture
from pytest_dogfood.journey import Tier

VERSION = 1


def picture_to_json(picture: Picture) -> str:
    """Write a picture; the order of everything is that of the project, and the same picture gives the same text."""
    raw = msgspec.to_builtins(picture)
    for journey, node in zip(raw["journeys"], picture.journeys, strict=True):
        journey["tier"] = str(node.tier)
    return json.dumps({"version": VERSION, **raw}, indent=2, ensure_ascii=False) + "\n"


def picture_from_json(text: str) -> Picture:
    """Read what `picture_to_json` has written. Raises ValueError for anything else."""
    raw: Any = json.loads(text)
    if not isinstance(raw, dict) or raw.get("version") != VERSION:
        raise ValueError(f"not a picture of version {VERSION}")
    try:
        journeys = [{**one, "tier": Tier[one["tier"].upper()]} for one in raw["journeys"]]
        return msgspec.convert({**raw, "journeys": journeys}, Picture)
    except (KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"not a picture: {error!r}") from error
