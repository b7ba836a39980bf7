"""`python -m pytest_dogfood` is `dogfood`."""

from __future__ import annotations

import sys

from pytest_dogfood.cli import main

sys.exit(main())
