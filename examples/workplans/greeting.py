"""A small product, so that the plans have something to be about."""

from __future__ import annotations

GREETINGS = {"en": "Hello", "de": "Guten Tag"}


def greet(name: str, language: str = "en") -> str:
    """Greet somebody; raises KeyError for a language that nobody has added."""
    return f"{GREETINGS[language]}, {name}!"
