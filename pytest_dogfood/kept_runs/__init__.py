"""What is left of a run that is over: a copy to enter, and packs that take it elsewhere."""

from __future__ import annotations
