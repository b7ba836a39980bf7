"""How fast we are beside our peers: `python -m tests.benchmarks`; no part of the test run."""

from __future__ import annotations
