"""The files and commands on the page about fleets do what is said."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documentation.test_ci_page import commands
from tests.support.fleet_machines import fleet
from tests.support.scenes import Inner

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "fleet.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```yml\n# (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
GITHUB, GITLAB, KUBERNETES = ".github/workflows/fleet.yml", ".gitlab-ci.yml", "fleet-job.yml"


def evaluated(text: str, secret: str, machine: int) -> str:
    """Put in what GitHub puts in for the one expression of the page's command."""
    expression = re.search(
        r"\$\{\{ env.DOGFOOD_FLEET && '(.*?)' \|\| format\('(.*?)', matrix.machine\) \}\}", text
    )
    assert expression is not None
    return text.replace(
        expression[0], expression[1] if secret else expression[2].replace("{0}", str(machine))
    )


def test_every_file_of_the_page_can_be_read() -> None:
    assert set(FILES) == {GITHUB, GITLAB, KUBERNETES}
    assert all(yaml.safe_load(text) for text in FILES.values())


def test_a_github_workflow_has_a_fleet_where_it_sees_the_secret_and_shards_where_not() -> None:
    jobs = yaml.safe_load(FILES[GITHUB])["jobs"]
    (line,) = (line for line in commands(jobs["test"]) if line.startswith("pytest"))

    assert jobs["test"]["strategy"]["fail-fast"] is False
    assert jobs["verdict"]["if"] == "always()"
    assert evaluated(line, "postgresql://x/y", 2).endswith("--dogfood-fleet ci")
    assert evaluated(line, "", 2).endswith("--dogfood-shard 2/4")
    assert f"/{len(jobs['test']['strategy']['matrix']['machine'])}" in evaluated(line, "", 2)


def test_without_the_secret_the_workflow_runs_shards_and_merges_them(inner: Any) -> None:
    jobs = yaml.safe_load(FILES[GITHUB])["jobs"]
    (line,) = (line for line in commands(jobs["test"]) if line.startswith("pytest"))
    scene: Inner = inner({"a.journey.yaml": "{journeys: [{id: a, steps: [run: 'true']}]}"})

    for number in range(1, 5):
        words = shlex.split(evaluated(line, "", number).replace("-n auto", "-n0"))[2:]
        assert scene.dogfood(*words).ret == 0

    assert len(list(scene.path.glob("dogfood-shard-*.json"))) == 4


@pytest.mark.parametrize("name", [GITHUB, GITLAB])
def test_the_commands_of_a_ci_file_run_machines_and_close_the_run(
    name: str,
    tmp_path: Path,
    fleet_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [
        evaluated(one, "x", 1) if "env." in one else one for one in commands(yaml.safe_load(FILES[name]))
    ]
    (run,) = (line for line in lines if line.startswith("pytest"))
    (closing,) = (line for line in lines if line.startswith("dogfood fleet close"))
    pipeline = {"GITHUB_RUN_ID": f"{tmp_path.stat().st_ino}", "GITHUB_RUN_ATTEMPT": "1"}
    if name == GITLAB:
        pipeline = {"CI_PIPELINE_ID": f"{tmp_path.stat().st_ino}"}
    words = shlex.split(run)
    files = {"a.journey.yaml": "{journeys: [{id: a, steps: [run: 'true']}, {id: b, steps: [run: 'true']}]}"}

    with fleet(tmp_path, fleet_url, files) as made:
        ends = [made.start(words[words.index("--dogfood-fleet") + 1], environment=pipeline) for _ in range(2)]
        assert [end.end().status for end in ends] == [0, 0]

    from pytest_dogfood.cli.main import main

    for variable, value in {**pipeline, "DOGFOOD_FLEET": fleet_url}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(closing)[1:]) == 0, capsys.readouterr().err
    assert (tmp_path / "report.xml").read_text().count("<testcase") == 2
    assert "<html" in (tmp_path / "report.html").read_text()
