from __future__ import annotations

from greeting import greet


def test_it_greets_by_name():
    assert greet("Ada") == "Hello, Ada!"
    assert greet("Ada", "de") == "Guten Tag, Ada!"
