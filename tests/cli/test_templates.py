from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

from pytest_dogfood.check.shell import shell_findings
from pytest_dogfood.cli.journeys import (
    OK,
    USAGE,
    capability_template,
    journey_template,
    project_files,
    script_template,
)
from pytest_dogfood.cli.main import main
from pytest_dogfood.fileformat.parser import ParsedFile, parse_journey_file, parse_settings_file
from pytest_dogfood.graph import CapabilityGraph
from tests.support.command_line import tree

if TYPE_CHECKING:
    from tests.support.run_results import Run
    from tests.support.scenes import Scene

ROOT = Path(__file__).parents[2]
IDS = ["log-in", "Log_in.2", "1.20", "null", "true", ".", "...", "__", "2026-01-02"]
TOKENS = ["user-logged-in", "5", "null", "true", "0-1", "db-ready"]


def taken_up(text: str) -> str:
    """Return a template with every key that it offers."""
    return re.sub(r"^( *)#(?=\S|  )", r"\1", text, flags=re.MULTILINE)


def parsed(path: str, text: str) -> ParsedFile:
    name = PurePosixPath(path).name
    if name == "dogfood.yaml":
        return parse_settings_file(text.encode(), path=path)
    return parse_journey_file(text.encode(), path=path, stem=name.removesuffix(".journey.yaml"))


@pytest.mark.parametrize("name", IDS)
def test_a_journey_template_holds_one_journey_of_that_id(name: str) -> None:
    file = parsed("a.journey.yaml", journey_template(name))
    assert (file.diagnostics, [journey.id for journey in file.journeys]) == ((), [name])


@pytest.mark.parametrize("name", IDS)
def test_a_journey_template_is_right_with_every_key_taken_up(name: str) -> None:
    file = parsed("a.journey.yaml", taken_up(journey_template(name)))
    (journey,) = file.journeys
    (capability,) = file.capabilities
    assert file.diagnostics == ()
    assert list(journey.requires) == [capability.token]
    assert (journey.gating, len(journey.cleanup), len(capability.provision)) == (True, 1, 1)


def keys_taken_up(script: str) -> str:
    """Return a script whose header uses every key that it offers."""
    return re.sub(r"^#   (?=\w+:)", "# dogfood: ", script, flags=re.MULTILINE)


@pytest.mark.parametrize("as_written", [True, False])
def test_a_script_template_is_one_journey_that_stops_where_a_command_fails(*, as_written: bool) -> None:
    text = script_template("log-in")
    text = text if as_written else keys_taken_up(text)
    file = parse_journey_file(text.encode(), path="log-in.journey.sh", stem="log-in")
    (journey,) = file.journeys
    assert (file.diagnostics, journey.id) == ((), "log-in")
    assert (journey.gating, journey.steps[0].stdin is None) == (not as_written, as_written)
    assert [*journey.requires, *journey.establishes] == (
        [] if as_written else ["log-in-prepared", "log-in-done"]
    )
    assert list(shell_findings(CapabilityGraph(file.journeys), lambda _: text)) == []


def test_a_new_script_can_be_run_and_the_next_command_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "script", "log-in", f"--directory={tmp_path / 'a b'}"]) == OK
    path = tmp_path / "a b" / "log-in.journey.sh"
    assert os.access(path, os.X_OK)
    assert capsys.readouterr().out == f"wrote {path}\nnext: pytest --dogfood '{path}'\n"
    assert main(["new", "script", "log-in", f"--directory={path.parent}"]) == USAGE


@pytest.mark.parametrize("token", TOKENS)
def test_a_capability_template_defines_that_token(token: str) -> None:
    file = parsed("dogfood.yaml", capability_template(token))
    (capability,) = file.capabilities
    assert (file.diagnostics, capability.token) == ((), token)
    assert capability.probe is not None
    assert len(capability.provision) == 1


@pytest.mark.parametrize("token", TOKENS)
def test_a_capability_template_is_right_with_every_key_taken_up(token: str) -> None:
    file = parsed("dogfood.yaml", taken_up(capability_template(token)))
    assert file.diagnostics == ()
    assert [(each.timeout, len(each.release)) for each in file.capabilities] == [(30.0, 1)]


@pytest.mark.parametrize("path,text", project_files().items())
def test_a_file_of_a_project_is_right_with_every_key_taken_up(path: str, text: str) -> None:
    assert parsed(path, taken_up(text)).diagnostics == ()


@pytest.mark.parametrize("name", ["", "-a", "a b", "a: b\nc", "a/b", "Log-In", "log_in", "a-"])
@pytest.mark.parametrize("kind", ["journey", "script"])
def test_what_cannot_be_an_id_is_refused(
    kind: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", f"--directory={tmp_path}", "--", kind, name]) == USAGE
    assert re.search("is not in kebab-case|name the journey's id", capsys.readouterr().err)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("token", ["", "Db", "a_b", "a: {b: c}", "a-"])
def test_what_cannot_be_a_token_is_refused(
    token: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", f"--directory={tmp_path}", "--", "capability", token]) == USAGE
    assert re.search("is not in kebab-case|name the token", capsys.readouterr().err)
    assert tree(tmp_path) == {}


def test_nobody_wants_a_template_that_configures_pytest() -> None:
    assert sorted(project_files()) == ["dogfood.yaml", "journeys/first.journey.yaml"]


@pytest.mark.parametrize(
    "text",
    [journey_template("a"), script_template("a"), capability_template("a"), *project_files().values()],
    ids=str.__len__,
)
def test_no_line_of_a_template_is_too_long_to_read(text: str) -> None:
    assert max(map(len, text.splitlines())) <= 120


def test_the_templates_and_all_other_data_are_in_the_wheel(tmp_path: Path) -> None:
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(ROOT))
    (wheel,) = builder.build(directory=str(tmp_path), versions=["standard"])
    files = (path for path in (ROOT / "pytest_dogfood").rglob("*") if path.is_file())
    data = {str(path.relative_to(ROOT)) for path in files if path.suffix not in {".py", ".pyc"}}
    assert len([name for name in data if name.startswith("pytest_dogfood/cli/templates/")]) == 6
    assert data <= set(ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def everything(new_scene: Callable[[], Scene]) -> Run:
    """A run of all templates together: as written, and with every key taken up."""
    scene = new_scene()
    for path, text in project_files().items():
        scene.write(path, text)
    scene.write("journeys/plain.journey.yaml", journey_template("plain"))
    scene.write("journeys/full.journey.yaml", taken_up(journey_template("full")))
    for name, text in (("as-it-is", script_template("a")), ("taken-up", keys_taken_up(script_template("a")))):
        scene.write(f"{name}.journey.sh", text)
        (scene.path / f"{name}.journey.sh").chmod(0o755)
    scene.write(
        "dogfood.yaml",
        project_files()["dogfood.yaml"].replace(
            "capabilities:", "capabilities:\n  a-prepared: {provision: ['true']}"
        ),
    )
    scene.write("plain/dogfood.yaml", capability_template("there-as-written"))
    scene.write("plain/user.journey.yaml", "requires: there-as-written\nsteps: [true]\n")
    scene.write("full/dogfood.yaml", taken_up(capability_template("there-in-full")))
    scene.write("full/dependent.journey.yaml", "requires: there-in-full\nsteps: [true]\n")
    return scene.run()


def test_every_template_runs_as_it_is_written(everything: Run) -> None:
    assert everything.status == 0, everything.text
    assert "8 journeys = 8 passed" in everything.closing_line
