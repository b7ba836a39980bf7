"""What we remember on pytest's objects, one typed key per fact."""

from __future__ import annotations

import pytest

from pytest_dogfood.journey import Journey
from pytest_dogfood.project import Project
from pytest_dogfood.settings import Settings

SETTINGS = pytest.StashKey[Settings]()
PROJECT = pytest.StashKey[Project]()
JOURNEY = pytest.StashKey[Journey]()
