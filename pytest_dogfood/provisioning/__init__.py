"""The life of a token: present, set up, replayed, served, released."""

from __future__ import annotations
