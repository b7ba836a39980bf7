"""Those who act where a step has no command: the program that is asked, its stage, what it did and how that is kept."""

from __future__ import annotations
