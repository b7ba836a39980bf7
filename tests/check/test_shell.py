"""Remarks on what goes on where a command fails, as `dogfood check` gives them."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from tests.behaviour.test_off import Make
from tests.support.command_line import dogfood

INIT = """\
#!/usr/bin/env bash
# dogfood: establishes: app-made
cd "$DOGFOOD_STATE"
mkdir app && cd app
cat /nonexistent-template > main.txt
echo "init done"
"""
BUILD = """\
#!/bin/sh
# dogfood: requires: app-made
cd "$DOGFOOD_STATE/app"
grep hello main.txt | sort
echo "build done"
"""


def remarks(make: Make, files: Mapping[str, str]) -> list[tuple[str, int, str]]:
    """Return the remarks of a check: path, line and hint."""
    path = make(files).path
    for script in path.glob("*.sh"):
        script.chmod(0o755)
    report = json.loads(dogfood(path, "check", "--format", "json").stdout)
    assert report["valid"]
    return [
        (found["path"], found["line"], found["hint"])
        for found in report["findings"]
        if found["code"] == "goes-on-after-failure"
    ]


def test_a_script_that_goes_on_where_a_command_fails_is_remarked_with_the_line_to_add(inner: Make) -> None:
    found = remarks(inner, {"01-init.journey.sh": INIT, "02-build.journey.sh": BUILD})
    assert [(path, line) for path, line, _ in found] == [
        ("01-init.journey.sh", 3),
        ("02-build.journey.sh", 3),
    ]
    assert found[0][2] == "add the line `set -eo pipefail` below its first comment"
    assert found[1][2].startswith(
        "add the line `set -e` below its first comment; to notice a failure before a pipe"
    )


def test_a_script_that_stops_is_not_remarked(inner: Make) -> None:
    scripts = {
        "set.journey.sh": INIT.replace("cd ", "set -euo pipefail\ncd ", 1),
        "flag.journey.sh": INIT.replace("env bash", "env -S bash -e"),
        "python.journey.sh": "#!/usr/bin/env python3\n# dogfood: establishes: x\nimport os\nprint(os.getcwd())\n",
        "one-command.journey.sh": "#!/bin/sh\n# dogfood: establishes: x\ntrue\n",
    }
    assert remarks(inner, scripts) == []


def test_the_line_that_is_named_lets_the_script_fail(inner: Make) -> None:
    text = INIT.replace(
        "# dogfood: establishes: app-made\n", "# dogfood: establishes: app-made\nset -eo pipefail\n"
    )
    scene = inner({"a.journey.sh": text})
    (scene.path / "a.journey.sh").chmod(0o755)
    scene.dogfood("-n0").assert_outcomes(failed=1)


SHELLS = {
    "dash": ["write `shell: dash -e`"],
    "/bin/sh": ["write `shell: /bin/sh -e`"],
    "bash --norc": ["write `shell: bash --norc -e`"],
    "bash": [],
    "sh": [],
    "dash -e": [],
    "python3": [],
}


@pytest.fixture(scope="module")
def hints(inner: Make) -> dict[str, list[str]]:
    """Return the hints of a check by shell: each has a file of its own, with two steps."""
    files = {}
    for number, shell in enumerate(SHELLS):
        step = f"- {{shell: '{shell}', run: \"false\\necho done\"}}"
        text = f"journeys:\n  - id: j{number}\n    steps:\n      {step}\n      {step}\n"
        files[f"{number}.journey.yaml"] = text
    found = remarks(inner, files)
    return {
        shell: [hint for path, _, hint in found if path == name]
        for name, shell in zip(files, SHELLS, strict=True)
    }


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_that_goes_on_is_remarked_once_in_a_file(hints: dict[str, list[str]], shell: str) -> None:
    assert hints[shell] == SHELLS[shell]
