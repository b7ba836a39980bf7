"""Files that look like journeys and that nothing collects, as `dogfood check` names them."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from tests.behaviour.test_off import Make
from tests.support.command_line import dogfood

JOURNEYS = 'journeys:\n  - {id: one, steps: [{run: "true"}]}\n'
STEPS = 'steps: [{run: "true"}]\n'
SCRIPT = "#!/bin/sh\n# dogfood: establishes: x\ntrue\n"
NO_PATTERN = "its name matches no pattern of dogfood_files"
PATTERNS = "*.journey.yaml *.journey.yml *.journey.json *.journey.sh journeys.yaml journeys.yml journeys.json"
SEEN = {"seen.journey.yaml": 'id: seen\nsteps: [{run: "true"}]\n'}


def warnings(make: Make, files: Mapping[str, str], *arguments: str) -> list[tuple[str, str, str]]:
    """Return the warnings of a check: path, message and hint."""
    path = make({**SEEN, **files}).path
    report = json.loads(dogfood(path, "check", "--format", "json", *arguments).stdout)
    return [
        (found["path"], found["message"], found["hint"])
        for found in report["findings"]
        if found["code"] == "not-collected"
    ]


def test_each_file_with_a_name_that_is_slightly_wrong_is_named_with_the_name_it_needs(inner: Make) -> None:
    files = {
        "01-login.sh": SCRIPT,
        "02-login": SCRIPT,
        "03-login.bash": SCRIPT.replace("/bin/sh", "/bin/bash"),
        "04-login.journey.py": SCRIPT,
        "05-login.journey.bash": "echo hello\n",
        "06-login.journey.SH": SCRIPT,
        "07-login.sh": SCRIPT.replace("#!/bin/sh\n", "#!/bin/sh\nset -e\n"),
        "a.journey.yml.txt": JOURNEYS,
        "x.journey.YAML": JOURNEYS,
        "journey.yaml": JOURNEYS,
        "journey.json": '{"journeys": [{"id": "json", "steps": [{"run": "true"}]}]}',
        "login-journey.yaml": JOURNEYS,
        "login.Journey.yml": JOURNEYS,
        "pay_journey.yml": STEPS,
        "test_login.yaml": JOURNEYS,
        "below/smoke.yaml": STEPS,
        "broken.yaml": JOURNEYS + "  - {id: two, stepps: []}\n",
        "journeys/e2e/f.journey.yaml": "id: f\n" + STEPS,
    }
    found = warnings(inner, files)
    assert [(path, hint) for path, _, hint in found] == [
        ("01-login.sh", "rename it to '01-login.journey.sh'"),
        ("02-login", "rename it to '02-login.journey.sh'"),
        ("03-login.bash", "rename it to '03-login.journey.sh'"),
        ("04-login.journey.py", "rename it to '04-login.journey.sh'"),
        ("05-login.journey.bash", "rename it to '05-login.journey.sh'"),
        ("06-login.journey.SH", "rename it to '06-login.journey.sh'"),
        ("07-login.sh", "rename it to '07-login.journey.sh'"),
        ("a.journey.yml.txt", "rename it to 'a.journey.yml'"),
        ("below/smoke.yaml", "rename it to 'smoke.journey.yaml'"),
        ("broken.yaml", "rename it to 'broken.journey.yaml'"),
        ("journey.json", "rename it to 'journeys.json'"),
        ("journey.yaml", "rename it to 'journeys.yaml'"),
        ("login-journey.yaml", "rename it to 'login.journey.yaml'"),
        ("login.Journey.yml", "rename it to 'login.journey.yml'"),
        ("pay_journey.yml", "rename it to 'pay.journey.yml'"),
        ("test_login.yaml", "rename it to 'test_login.journey.yaml'"),
        ("x.journey.YAML", "rename it to 'x.journey.yaml'"),
    ]
    assert {message for _, message, _ in found} == {
        f"nothing collects this file, which looks like a journey: {NO_PATTERN}"
    }


def test_no_two_files_are_told_to_take_one_name_and_none_to_take_that_of_a_file_that_exists(
    inner: Make,
) -> None:
    files = {
        "journey.json": '{"journeys": [{"id": "json", "steps": [{"run": "true"}]}]}',
        "journeys.json": '{"journeys": [{"id": "other", "steps": [{"run": "true"}]}]}',
        "login-journey.yaml": JOURNEYS,
        "login.journeys.yaml": JOURNEYS.replace("one", "two"),
        "seen-journey.yaml": JOURNEYS,
        "below/login.journeys.yaml": JOURNEYS.replace("one", "three"),
        "below/dogfood.json": "{}",
        "below/dogfood.yml": "{}",
        "dogfood.yaml": "{}",
        "dogfood.yml": "{}",
    }
    another = f"give this file another name that matches one of {PATTERNS.replace(' ', ', ')}"
    merge = "move what this file sets into that one, and delete this file"
    assert {path: hint for path, _, hint in warnings(inner, files)} == {
        "journey.json": f"'journeys.json' exists already: {another}",
        "login-journey.yaml": "rename it to 'login.journey.yaml'",
        "login.journeys.yaml": f"'login.journey.yaml' is the new name for 'login-journey.yaml': {another}",
        "seen-journey.yaml": f"'seen.journey.yaml' exists already: {another}",
        "below/login.journeys.yaml": "rename it to 'login.journey.yaml'",
        "below/dogfood.json": "rename it to 'dogfood.yaml'",
        "below/dogfood.yml": f"'dogfood.yaml' is the new name for 'dogfood.json': {merge}",
        "dogfood.yml": f"'dogfood.yaml' exists already: {merge}",
    }


def test_what_the_projects_own_norecursedirs_hides_is_named_whatever_its_name(inner: Make) -> None:
    files = {
        "pytest.ini": "[pytest]\nnorecursedirs = mydir build",
        "mydir/right.journey.yaml": STEPS,
        "mydir/wrong.yaml": JOURNEYS,
        "mydir/a/b/deep.journey.yaml": STEPS,
        "mydir/other.yaml": "services: {}\n",
        "mydir/dogfood.yml": "{}",
        "mydir/node_modules/x.journey.yaml": STEPS,
        "build/seen.journey.yaml": STEPS,
    }
    move = "move it, or set norecursedirs in pytest's ini file without the pattern that matches"
    why = "pytest does not enter 'mydir' (norecursedirs)"
    assert warnings(inner, files) == [
        ("mydir/a/b/deep.journey.yaml", f"nothing collects this journey file: {why}", move),
        ("mydir/right.journey.yaml", f"nothing collects this journey file: {why}", move),
        (
            "mydir/wrong.yaml",
            f"nothing collects this file, which looks like a journey: {why}, and {NO_PATTERN}",
            f"rename it to 'wrong.journey.yaml'; and {move}",
        ),
    ]


@pytest.mark.parametrize("directory", ["venv", "node_modules", "CVS", "x.egg", ".tox", ".x_cache"])
def test_a_directory_that_only_tools_fill_is_not_searched_with_default_settings(
    inner: Make, directory: str
) -> None:
    assert warnings(inner, {f"{directory}/x.journey.yaml": STEPS, f"{directory}/y.yaml": JOURNEYS}) == []


@pytest.mark.parametrize("directory", ["build", "dist"])
def test_a_directory_of_build_output_is_searched_for_journey_files_that_are_no_copies(
    inner: Make, directory: str
) -> None:
    files = {
        "image.journey.yaml": STEPS,
        "deep/cli.journey.yaml": STEPS,
        "seen.journey.yaml": STEPS,
        "y.yaml": JOURNEYS,
    }
    found = warnings(inner, {f"journeys/{directory}/{name}": text for name, text in files.items()})
    assert [path for path, _, _ in found] == [
        f"journeys/{directory}/deep/cli.journey.yaml",
        f"journeys/{directory}/image.journey.yaml",
    ]


def test_what_is_none_of_ours_is_not_named(inner: Make) -> None:
    files = {
        "ci.yml": "steps:\n  - name: build\n    args: [make]\n",
        "pipeline.yaml": "steps:\n  - script: make\n    displayName: build\n",
        "compose.yaml": "services: {web: {image: nginx}}\n",
        "package.json": '{"steps": 3}',
        "run-journeys.sh": "#!/bin/sh\nexec pytest --dogfood\n",
        "notes.md": "# dogfood: requires: x\n",
        "notes.txt": JOURNEYS,
        "journey.notes.txt": JOURNEYS,
        "test_it.py": "# dogfood: requires: x\ndef test_it(): pass\n",
        "old.journey.yaml.orig": JOURNEYS,
        "node_modules/x/journey.yaml": JOURNEYS,
        ".venv/journeys.yaml": JOURNEYS,
    }
    assert warnings(inner, files) == []


def test_the_name_is_one_that_the_projects_own_patterns_match(inner: Make) -> None:
    files = {"pytest.ini": "[pytest]\ndogfood_files = *.e2e.yaml\n", "login.yaml": JOURNEYS, "a.sh": SCRIPT}
    found = warnings(inner, files)
    assert [(path, hint) for path, _, hint in found if path != "seen.journey.yaml"] == [
        ("a.sh", "rename it so that it matches one of *.e2e.yaml, or add a pattern"),
        ("login.yaml", "rename it to 'login.e2e.yaml'"),
    ]


def test_a_file_where_pytest_does_not_look_is_named_with_the_reason(inner: Make) -> None:
    files = {
        "pytest.ini": "[pytest]\ntestpaths = tests\n",
        "tests/a.journey.yaml": "id: a\n" + STEPS,
        "e2e/b.journey.yaml": "id: b\n" + STEPS,
        ".smoke/c.journey.yaml": "id: c\n" + STEPS,
        "seen.journey.yaml": "id: d\n" + STEPS,
    }
    assert [(path, message.partition(": ")[2], hint) for path, message, hint in warnings(inner, files)] == [
        (
            ".smoke/c.journey.yaml",
            "pytest does not enter '.smoke' (norecursedirs)",
            "move it, or set norecursedirs in pytest's ini file without the pattern that matches",
        ),
        (
            "e2e/b.journey.yaml",
            "it lies outside of testpaths (tests)",
            "add 'e2e' to testpaths in pytest's ini file, or name it: dogfood check e2e",
        ),
        (
            "seen.journey.yaml",
            "it lies outside of testpaths (tests)",
            "add '.' to testpaths in pytest's ini file, or name it: dogfood check .",
        ),
    ]


@pytest.mark.parametrize("name", ["dogfood.yml", "dogfood.json", ".dogfood.yaml"])
def test_settings_that_nothing_reads_are_named(inner: Make, name: str) -> None:
    assert warnings(inner, {name: "{}"}) == [
        (name, "nothing reads this file: settings are read from dogfood.yaml", "rename it to 'dogfood.yaml'")
    ]


def test_a_file_that_another_plugin_collects_is_not_named(inner: Make) -> None:
    conftest = """
        import pytest

        class One(pytest.Item):
            def runtest(self):
                pass

        class File(pytest.File):
            def collect(self):
                yield One.from_parent(self, name="one")

        def pytest_collect_file(file_path, parent):
            if file_path.name == "test_login.yaml":
                return File.from_parent(parent, path=file_path)
    """
    assert warnings(inner, {"conftest.py": conftest, "test_login.yaml": JOURNEYS}) == []


@pytest.mark.parametrize(
    "arguments, paths", [(["a"], ["a/x.yaml"]), (["a/x.yaml"], []), ([], ["a/x.yaml", "b/y.yaml"])]
)
def test_only_what_is_named_is_searched(inner: Make, arguments: list[str], paths: list[str]) -> None:
    files = {"a/x.yaml": "id: x\n" + STEPS, "b/y.yaml": "id: y\n" + STEPS}
    assert [path for path, _, _ in warnings(inner, files, *arguments)] == paths


def test_a_broken_file_that_was_named_is_not_said_to_be_left_out(inner: Make) -> None:
    files = {
        "pytest.ini": "[pytest]\ntestpaths = tests\n",
        "tests/a.yaml": "",
        "e2e/b.journey.yaml": "stepps: []\n",
    }
    assert warnings(inner, files, "e2e") == []


def test_a_token_whose_only_source_has_the_wrong_name_leads_to_the_file(inner: Make) -> None:
    files = {
        "login.yaml": "establishes: [logged-in]\n" + STEPS,
        "buy.journey.yaml": "requires: [logged-in]\n" + STEPS,
    }
    assert [path for path, _, _ in warnings(inner, files)] == ["login.yaml"]
