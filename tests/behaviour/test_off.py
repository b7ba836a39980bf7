"""Off means off: without --dogfood nothing is collected, imported, written or changed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], "Inner"]

THEIRS = {
    "pytest.ini": "[pytest]\nmarkers =\n    requires: our own mark\naddopts = --strict-markers\n",
    "a.journey.yaml": "{journeys: [{id: a, steps: [run: 'false']}]}",
    "broken.journey.yaml": "{",
    "test_it.py": """
        import sys

        import pytest

        HEAVY = ("yaml", "msgspec", "filelock", "jmespath")
        EXPECTED = ("api", "hookspecs", "plugin")

        @pytest.mark.requires("network")
        def test_with_a_mark_of_the_same_name():
            pass

        def test_nothing_heavy_is_imported():
            assert [name for name in HEAVY if name in sys.modules] == []

        def test_nothing_of_ours_is_imported_but_the_plugin():
            ours = [name for name in sys.modules if name.startswith("pytest_dogfood")]
            assert sorted(ours) == ["pytest_dogfood", *(f"pytest_dogfood.{one}" for one in EXPECTED)]
    """,
}


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_project_that_has_not_opted_in_sees_nothing_of_us(inner: Make, workers: str) -> None:
    scene = inner(THEIRS)
    before = sorted(path.name for path in scene.path.iterdir())
    result = scene.typed(workers, "-v", "-p", "no:cacheprovider", "-p", "no:randomly")
    result.assert_outcomes(passed=3)
    assert "dogfood:" not in result.stdout.str()
    after = {path.name for path in scene.path.iterdir()} - {"__pycache__"}
    assert sorted(after) == before


@pytest.mark.parametrize("option", ["--dogfood-shard=1/2", "--dogfood-record=kept", "--dogfood-replay=kept"])
def test_what_only_a_run_with_journeys_can_do_is_refused_without_them(inner: Make, option: str) -> None:
    result = inner(THEIRS).typed(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {option.partition('=')[0]} does nothing without --dogfood: add *"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("a.journey.yaml",),
        ("a.journey.yaml::a",),
        ("a.journey.yaml", "-q"),
        ("a.journey.yaml", "test_it.py", "-n1"),
        ("sub/../sub/named.yaml",),
    ],
)
def test_naming_a_journey_file_is_a_usage_error_that_says_what_to_add(
    inner: Make, arguments: tuple[str, ...]
) -> None:
    files = {**THEIRS, "sub/named.yaml": "steps: ['true']\n"}
    result = inner(files).typed(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            f"ERROR: {arguments[0].partition('::')[0]} is a journey file: add --dogfood, or `dogfood = true` to *"
        ]
    )
    assert "not found" not in result.stderr.str()


def test_what_else_is_not_found_is_told_beside_it(inner: Make) -> None:
    result = inner(THEIRS).typed("test_it.py::test_nowhere", "a.journey.yaml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: a.journey.yaml is a *", "ERROR: not found: *test_it.py::test_nowhere"]
    )


NOTHING_ELSE = {
    "pytest.ini": "[pytest]\n",
    "journeys/first.journey.yaml": "steps: ['true']\n",
    "journeys/second.journey.sh": "#!/bin/sh\n",
    "journeys/third.journey.json": "{}",
}
HINT = "add --dogfood, or `dogfood = true` to the ini file"


@pytest.mark.parametrize("more", [{}, {"dogfood.yaml": ""}], ids=["not opted in", "opted in"])
@pytest.mark.parametrize(
    "arguments", [(), ("-q",), ("-n1",), ("--co",), ("journeys",), ("-k", "nothing")], ids=" ".join
)
def test_where_nothing_was_collected_journey_files_say_what_to_add(
    inner: Make, arguments: tuple[str, ...], more: Mapping[str, str]
) -> None:
    result = inner({**NOTHING_ELSE, **more}).typed(*arguments)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    (line,) = (line for line in result.outlines if "journey file" in line)
    assert line == f"dogfood: journeys/first.journey.yaml is a journey file (so are 2 more): {HINT}"


@pytest.mark.parametrize(
    "files, arguments",
    [
        ({"test_it.py": "def test_it(): pass"}, ()),
        ({"other/conftest.py": ""}, ("other",)),
        ({}, ("--dogfood", "-k", "nothing")),
        ({"pytest.ini": "[pytest]\nnorecursedirs = journeys\n"}, ()),
        ({"pytest.ini": "[pytest]\ndogfood_files = *.bats\n"}, ()),
        ({}, ("-p", "no:dogfood")),
    ],
    ids=["tests", "elsewhere", "on", "not entered", "other patterns", "blocked"],
)
def test_journey_files_say_nothing_where_something_ran_or_pytest_did_not_look(
    inner: Make, files: Mapping[str, str], arguments: tuple[str, ...]
) -> None:
    assert "is a journey file" not in inner({**NOTHING_ELSE, **files}).typed(*arguments).stdout.str()


COLLECTS_THEM = """
    import pytest

    class File(pytest.File):
        def collect(self):
            return [Item.from_parent(self, name="theirs")]

    class Item(pytest.Item):
        def runtest(self):
            pass

    def pytest_collect_file(file_path, parent):
        if file_path.name == "a.journey.yaml":
            return File.from_parent(parent, path=file_path)
"""


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_a_journey_file_that_another_plugin_collects_stays_with_it(inner: Make, workers: str) -> None:
    result = inner({**THEIRS, "conftest.py": COLLECTS_THEM}).typed(workers, "a.journey.yaml")
    result.assert_outcomes(passed=1)
    assert "dogfood:" not in result.stdout.str()


@pytest.mark.parametrize("named", ["nowhere.journey.yaml", "data.yaml"])
def test_a_file_that_is_no_journey_file_is_not_called_one(inner: Make, named: str) -> None:
    result = inner({**THEIRS, "data.yaml": "price: 3\n"}).typed(named)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "journey file" not in result.stderr.str()


@pytest.mark.parametrize(
    "options", [("--dogfood-strict",), ("--dogfood-format", "json"), ("--dogfood-workers", "2")]
)
def test_what_only_a_check_can_do_is_refused_without_it(inner: Make, options: tuple[str, ...]) -> None:
    result = inner(THEIRS).typed("--dogfood", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {options[0]} does nothing without --dogfood-check: *"])


def test_a_mark_of_ours_is_unknown_where_nobody_has_opted_in(inner: Make) -> None:
    files = {**THEIRS, "pytest.ini": "[pytest]\naddopts = --strict-markers\n"}
    result = inner(files).typed()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*'requires' not found in `markers` configuration option*"])


OPTED_IN = {
    "a.journey.yaml": "{journeys: [{id: a, establishes: [network], steps: [run: 'false']}]}",
    "test_it.py": """
        import pytest

        @pytest.mark.requires("network", "power")
        def test_that_requires():
            raise AssertionError("must not run")

        @pytest.mark.dogfood_requires("network")
        class TestThatRequires:
            def test_method(self):
                raise AssertionError("must not run")

        @pytest.mark.establishes("power")
        def test_that_establishes():
            pass

        def test_with_our_fixtures(capabilities, dogfood_state):
            raise AssertionError("must not run")

        def test_plain():
            pass
    """,
}
INI = "[pytest]\naddopts = --strict-markers --strict-config\n"


@pytest.mark.parametrize(
    "opting_in",
    [
        {"pytest.ini": INI, "dogfood.yaml": "capabilities: {power: {}}"},
        {"pytest.ini": INI, "dogfood.yaml": ""},
        {"pytest.ini": INI + "dogfood_timeout = 60\n"},
        {"pytest.ini": INI + "dogfood_secrets = PASSWORD\n"},
        {"pytest.ini": INI + "testpaths = test_it.py tests\n", "tests/dogfood.yaml": ""},
    ],
    ids=["settings-file", "empty settings-file", "ini", "ini-list", "settings-file in testpaths"],
)
def test_where_the_project_has_opted_in_what_requires_a_token_is_skipped(
    inner: Make, opting_in: dict[str, str]
) -> None:
    result = inner({**OPTED_IN, **opting_in}).typed("-rs", "-p", "no:randomly")
    result.assert_outcomes(passed=2, skipped=3)
    result.stdout.fnmatch_lines(["SKIPPED*requires network, power, and only pytest --dogfood ensures that"])


def test_a_project_that_opted_in_imports_nothing_heavy_either(inner: Make) -> None:
    files = {
        "dogfood.yaml": "",
        "test_it.py": """
            import sys

            def test_it():
                assert {"yaml", "msgspec", "filelock", "jmespath"}.isdisjoint(sys.modules)
        """,
    }
    inner(files).typed().assert_outcomes(passed=1)


def test_ini_keys_of_ours_are_known_to_strict_configuration(inner: Make) -> None:
    result = inner(
        {"pytest.ini": INI + "dogfood_min_measured = 80\n", "test_it.py": "def test(): pass"}
    ).typed()
    result.assert_outcomes(passed=1)


def test_the_marks_are_explained(inner: Make) -> None:
    result = inner({"dogfood.yaml": ""}).typed("--markers")
    result.stdout.fnmatch_lines(
        ["@pytest.mark.requires(token, ...): *", "@pytest.mark.dogfood_establishes(token, ...): *"]
    )


def test_the_plugin_can_be_left_out(inner: Make) -> None:
    result = inner({"pytest.ini": "[pytest]\n", "test_it.py": "def test(): pass"}).typed("-p", "no:dogfood")
    result.assert_outcomes(passed=1)


def test_it_is_loaded_under_the_name_dogfood(inner: Make) -> None:
    result = inner({"test_it.py": "def test(): pass"}).typed("--trace-config")
    result.stdout.fnmatch_lines(["*pytest-dogfood-*", "*dogfood *pytest_dogfood*plugin.py"])


LOADED = """
    import sys

    def test_loaders():
        ours = {name: one.__loader__ for name, one in sys.modules.items() if name.startswith("pytest_dogfood.session.")}
        assert {type(loader).__name__ for loader in ours.values()} == {"SourceFileLoader"}
"""

TWICE = """
    import sys
    import pytest

    before = [*sys.meta_path]
    status = pytest.main(["--dogfood", "-q"])
    left = [one for one in sys.meta_path if one not in before]
    sys.exit(f"{status} {left}" if status or left else 0)
"""


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_pytest_rewrites_no_module_that_a_run_needs(inner: Make, workers: str) -> None:
    inner({"test_a.py": LOADED}).dogfood(workers).assert_outcomes(passed=1)


def test_after_a_run_python_finds_modules_as_before(inner: Make) -> None:
    scene = inner({"test_a.py": "def test_a(): pass", "twice.py": TWICE})
    done = subprocess.run(
        [sys.executable, "twice.py"], cwd=scene.path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
