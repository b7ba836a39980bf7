"""The suites below are run by the tests of this directory, in copies of their own."""

from __future__ import annotations

collect_ignore = ["delivery-scripts", "notes-service", "web-shop"]
