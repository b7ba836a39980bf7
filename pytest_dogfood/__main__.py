"""`python -m pytest_dogfood` is `dogfood`."""

from __future__ import annotations

import sys

from pytest_dogfood.cli.main import main

sys.exit(main())
