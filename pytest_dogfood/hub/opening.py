"""Opens the hub that a command means, and no other."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL

from pytest_dogfood.consistency.hub.location import locate, pinned_id
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.hub.urls import parse_url


def open_hub(option: str | None, *, readonly: bool = False, repository: Path | None = None) -> Hub:
    """Open the hub that is meant, unless `repository`, or here, pins another one; raises HubError."""
    hub = Hub.open(hub_url(option), readonly=readonly)
    try:
        pinned, where = pinned_id(repository or Path.cwd())
        hub.require_id(pinned, where=str(where))
    except BaseException:
        hub.close()
        raise
    return hub


def hub_url(option: str | None) -> URL:
    """Give the URL of the hub that is meant; raises HubError."""
    location = locate(option)
    return parse_url(location.url, base=location.base)
