"""Projects, fakes and strategies for the tests."""

from __future__ import annotations
