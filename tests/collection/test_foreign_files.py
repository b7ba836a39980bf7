"""A data file or a script that another plugin collects stays that plugin's, whoever names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], "Inner"]

CONFTEST = """
    import pytest

    def pytest_collect_file(parent, file_path):
        if file_path.name.startswith("test") and file_path.suffix in {".yaml", ".json", ".sh"}:
            return Sums.from_parent(parent, path=file_path)

    class Sums(pytest.File):
        def collect(self):
            for line in self.path.read_text().splitlines():
                yield Sum.from_parent(self, name="sum", line=line)

    class Sum(pytest.Item):
        def __init__(self, *, line, **more):
            super().__init__(**more)
            self.line = line

        def runtest(self):
            assert "wrong" not in self.line
"""
FILES = {
    "conftest.py": CONFTEST,
    "test_sums.yaml": "right: 1\nwrong: 2\n",
    "test_list.yaml": "- right\n- wrong\n",
    "test_broken.yaml": "right: [\nwrong: '\n",
    "test_sums.json": '{"right": 1,\n"wrong": {"steps": []}}\n',
    "test_sums.sh": "right\nwrong\n",
}
OURS = "{}: [{{id: ours, steps: ['true']}}]\n"


@pytest.fixture(scope="module")
def project(inner: Make) -> Inner:
    return inner(FILES)


NAMED = [name for name in FILES if name.startswith("test_")]


@pytest.mark.parametrize("name, workers", [*((name, "-n0") for name in NAMED), (NAMED[0], "-n2")])
def test_a_named_file_of_another_plugin_is_collected_by_it_alone(
    project: Inner, name: str, workers: str
) -> None:
    project.dogfood(workers, name).assert_outcomes(passed=1, failed=1)


def test_the_files_of_a_named_directory_are_collected_by_the_other_plugin_alone(project: Inner) -> None:
    project.dogfood(".").assert_outcomes(passed=5, failed=5)


def test_one_item_of_another_plugin_can_be_named(project: Inner) -> None:
    project.dogfood("test_sums.yaml::sum", "-k", "sum").assert_outcomes(passed=1, failed=1)


@pytest.mark.parametrize(
    "workers, name, text",
    [
        ("-n2", "test_a.journey.yaml", "journeys: [{id: ours, steps: ['true']}]"),
        ("-n0", "test_a.yaml", "# a comment\njourneys:\n- {id: ours, steps: ['true']}"),
        ("-n0", "test_b.yaml", "---\nid: ours\nsteps: ['true']"),
        ("-n0", "test_c.yaml", '"steps": ["true"]'),
        ("-n0", "test_d.yaml", "{id: ours, steps: ['true']}"),
        ("-n0", "test_a.json", '{"journeys": [{"id": "ours", "steps": ["true"]}]}'),
        ("-n0", "test_a.sh", "#!/bin/sh\n# dogfood: rationale: it is ours\ntrue"),
    ],
)
def test_a_file_that_declares_journeys_is_ours_alone(inner: Make, workers: str, name: str, text: str) -> None:
    scene = inner({"conftest.py": CONFTEST, name: text})
    (scene.path / name).chmod(0o755)
    result = scene.dogfood(workers, name)
    result.stdout.fnmatch_lines(["dogfood: 1 journey = 1 passed*"])
    result.assert_outcomes(passed=1)


def test_a_named_file_that_nothing_else_collects_is_read_as_ours(inner: Make) -> None:
    result = inner({"sums.yaml": "right: 1\n"}).dogfood("-n0", "sums.yaml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["sums.yaml:1:1: *"])


def test_a_named_script_that_nothing_else_collects_is_a_journey(inner: Make) -> None:
    scene = inner({"sums.sh": "#!/bin/sh\ntrue\n"})
    (scene.path / "sums.sh").chmod(0o755)
    scene.dogfood("sums.sh").stdout.fnmatch_lines(["dogfood: 1 journey = 1 passed*"])


def test_a_file_that_is_named_beside_its_directory_is_ours_too(inner: Make) -> None:
    scene = inner(
        {
            "shop/test_it.py": "def test_it(): pass",
            "shop/named.yaml": "journeys: [{id: ours, steps: ['true']}]",
        }
    )
    scene.dogfood("shop", "shop/named.yaml").assert_outcomes(passed=2)
