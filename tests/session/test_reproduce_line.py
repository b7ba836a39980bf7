"""Each line that says how to reproduce a failure does so when it is typed in a fresh copy of the project."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], "Inner"]

PROJECT = {
    "conf/ci.ini": """
        [pytest]
        addopts = -m "not slow"
        markers =
            slow: takes long
    """,
    "dogfood.yaml": """
        capabilities:
          account: {}
          basket: {probe: 'test -f "$DOGFOOD_STATE/basket"'}
          shown: {provision: ["true"]}
          never: {probe: "false"}
    """,
    "shop_plugin.py": """
        import os

        import pytest

        def pytest_configure():
            os.environ["SHOP_PRICE"] = "17"

        @pytest.fixture
        def shop():
            pass
    """,
    "shop/test_account.py": """
        import pytest

        @pytest.mark.establishes("account")
        def test_account(dogfood_state):
            (dogfood_state / "account").touch()
    """,
    "shop/basket.journey.yaml": """
        journeys:
          - id: fills-the-basket
            requires: [account]
            establishes: [basket]
            steps: ['test -f "$DOGFOOD_STATE/account"', 'touch "$DOGFOOD_STATE/basket"']
    """,
    "shop/pay.journey.yaml": """
        journeys:
          - id: pays
            requires: [basket]
            use: [shop]
            steps:
              - {run: 'test "$SHOP_PRICE" = 17'}
              - {run: 'exit 4'}
          - id: pays-late
            requires: [basket]
            steps: [{run: sleep 30}]
          - id: ships
            matrix: {where: [here, far away]}
            requires: [shown]
            steps: ['test "$where" = here']
          - id: denied
            establishes: [never]
            requires: [account]
            steps: ["true"]
          - id: slow-one
            marks: [slow]
            establishes: [slow-done]
            steps: ["false"]
          - id: after-the-slow-one
            requires: [slow-done]
            steps: ["true"]
    """,
    "shop/it's 1.journey.yaml": "{id: odd, requires: [basket], steps: ['exit 5']}\n",
    "shop/named.yaml": "{id: named, requires: [basket], steps: ['exit 7']}\n",
    "shop/01-script.journey.sh": "#!/bin/sh\n# dogfood: requires: basket\nexit 6\n",
}
TYPED = [
    "-c",
    "conf/ci.ini",
    "--rootdir=.",
    "-p",
    "shop_plugin",
    "-o",
    "dogfood_timeout=1",
    "-o",
    "dogfood_files=*.journey.yaml *.journey.sh",
]


EVERYTHING = [*TYPED, "-m", "", "shop", "shop/named.yaml"]


def failures(result: pytest.RunResult) -> dict[str, str]:
    """Return the headline of each failure by the line that reproduces it, without numbers of lines and directories."""
    text = result.stdout.str()
    found = re.finditer(
        r"^([\w./' -]+:\d+:.*)\n(?:(?!reproduce: ).*\n)*?reproduce: (.*)$", text, re.MULTILINE
    )
    return {match[2]: match[1] for match in found}


@pytest.fixture(scope="module")
def project(inner: Make) -> Inner:
    project = inner(PROJECT)
    (project.path / "shop" / "01-script.journey.sh").chmod(0o755)
    return project


@pytest.fixture(scope="module")
def printed(project: Inner) -> dict[str, str]:
    return failures(project.dogfood("-n0", *EVERYTHING))


def test_a_line_is_printed_for_each_failure(printed: dict[str, str]) -> None:
    assert {line.rpartition("::")[2].rstrip("'") for line in printed} == {
        "01-script",
        "denied",
        "named",
        "odd",
        "pays",
        "pays-late",
        "ships[far away]",
        "slow-one",
    }


def test_workers_have_the_same_lines_printed(project: Inner, printed: dict[str, str]) -> None:
    assert failures(project.dogfood("-n2", *EVERYTHING)) == printed


def test_each_line_shows_the_same_failure_in_a_fresh_copy(
    project: Inner, printed: dict[str, str], tmp_path: Path
) -> None:
    for number, (line, headline) in enumerate(printed.items()):
        copy = Inner(tmp_path / str(number), project.state_root)
        shutil.copytree(project.path, copy.path, dirs_exist_ok=True)
        words = shlex.split(line)
        assert words[:2] == ["pytest", "--dogfood"]
        assert failures(copy.dogfood(*words[2:])) == {line: headline}
