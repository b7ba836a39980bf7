"""Nine numbered scripts, on one clone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ordinary.suites import Suite

SCRIPTS = Suite(
    name="delivery-scripts",
    outcomes={
        "01-make-upstream.journey.sh::01-make-upstream": ("passed", "passed"),
        "02-clone.journey.sh::02-clone": ("passed", "passed"),
        "03-first-commit.journey.sh::03-first-commit": ("passed", "passed"),
        "04-publish.journey.sh::04-publish": ("passed", "failed"),
        "05-propose.journey.sh::05-propose": ("passed", "passed"),
        "06-accept.journey.sh::06-accept": ("passed", "passed"),
        "09-unknown-words.journey.sh::09-unknown-words": ("passed", "passed"),
        "08-clone-again.journey.sh::08-clone-again": ("passed", "deferred"),
        "07-release.journey.sh::07-release": ("passed", "deferred"),
    },
    patch=("bin/deliver", "    git push -q origin main\n", "    exit 1\n"),
    orders=[
        (*(f"run 0{number}" for number in (1, 2, 3, 4, 7, 8)),),
        (*(f"run 0{number}" for number in (3, 5, 6, 7)), "release first-commit"),
        ("run 06", "clean 06"),
        ("release published", "release first-commit", "release cloned", "release upstream-made"),
    ],
    released={
        "run 01": "release upstream-made",
        "run 02": "release cloned",
        "run 03": "release first-commit",
        "run 04": "release published",
        "run 06": "clean 06",
    },
    words="release",
    one="06-accept.journey.sh::06-accept",
    interrupted="03-first-commit.journey.sh::03-first-commit",
    begun="run 03",
    slow={"DELIVER_SLOW": "5"},
)


@pytest.mark.parametrize("way", SCRIPTS.ways())
def test_each_script_has_one_outcome(way: str, short_root: Path) -> None:
    assert SCRIPTS.complaints(way, short_root) == []
