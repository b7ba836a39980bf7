"""The files for CI systems that the documentation shows are complete, and their commands do what is said."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from pytest_dogfood.cli import main
from pytest_dogfood.cli.doubt import COMMANDS
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.report import manifest
from pytest_dogfood.report.merge import merge, to_json
from tests.support.entered_projects import Project
from tests.support.manifests import expected, ran
from tests.support.scenes import Inner

DOCS = Path(__file__).parents[2] / "docs"
CI = (DOCS / "howto" / "ci.md").read_text(encoding="utf-8")
REFERENCE = (DOCS / "reference" / "manifest.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```yml\n# (\S+)\n(.*?)^```$", CI, re.MULTILINE | re.DOTALL))
GITHUB, GITLAB = ".github/workflows/journeys.yml", ".gitlab-ci.yml"


def commands(node: Any) -> list[str]:
    """Find every line that a CI file has a shell run."""
    if isinstance(node, list):
        return [line for one in node for line in commands(one)]
    if not isinstance(node, dict):
        return []
    own = [line for key in ("run", "script") for line in _lines(node.get(key))]
    return [*own, *(line for value in node.values() for line in commands(value))]


def _lines(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [one for one in value or () if isinstance(one, str)]


@pytest.mark.parametrize("name", [GITHUB, GITLAB])
def test_the_commands_of_a_ci_file_run_three_shards_and_merge_them(
    name: str, inner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, *_, merging = (line for line in commands(yaml.safe_load(FILES[name])) if not line.startswith("pip"))
    scene: Inner = inner({"a.journey.yaml": "{journeys: [{id: a, steps: [run: 'true']}]}"})
    monkeypatch.setenv("CI_NODE_TOTAL", "3")
    for number in ("1", "2", "3"):
        monkeypatch.setenv("CI_NODE_INDEX", number)
        line = run.replace("${{ matrix.shard }}", number).replace("-n auto", "-n0")
        assert scene.dogfood(*shlex.split(line)[2:]).ret == 0
    monkeypatch.chdir(scene.path)
    files = sorted(path.name for path in scene.path.glob("dogfood-shard-*.json"))
    arguments = shlex.split(merging.replace("dogfood-shard-*.json", " ".join(files)))[1:]
    assert len(files) == 3
    assert main.main(arguments) == 0
    assert all((scene.path / one).exists() for one in ("report.xml", "run.json", "dogfood-durations.json"))


def test_both_ci_files_pack_what_has_failed_and_keep_the_pack(tmp_path: Path, short_root: Path) -> None:
    text = "journeys: [{id: a, steps: [{run: exit 3}]}]"
    project = Project(tmp_path, short_root, text)
    project.pytest()
    project.env |= {"CI_JOB_STATUS": "failed", "CI_NODE_INDEX": "2"}
    github = [line for line in commands(yaml.safe_load(FILES[GITHUB])) if line.startswith("dogfood pack")]
    gitlab = yaml.safe_load(FILES[GITLAB])["shard"]["after_script"]
    program = f"{shlex.quote(sys.executable)} -m pytest_dogfood pack"
    for line in [*github, *gitlab]:
        (tmp_path / "pack-2.tar.gz").unlink(missing_ok=True)
        script = line.replace("${{ matrix.shard }}", "2").replace("dogfood pack", program)
        subprocess.run(
            ["sh", "-c", script], cwd=tmp_path, env=project.env, check=True, stdout=subprocess.DEVNULL
        )
        assert project.enter("a", "--run", "pack-2.tar.gz", "--", "pwd").returncode == 0
    assert all("pack-*.tar.gz" in FILES[name] for name in (GITHUB, GITLAB))


def fields_in(heading: str) -> list[str]:
    section = REFERENCE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return sorted(name for row in rows for name in re.findall(r"`(\w+)`", row))


def test_the_reference_has_every_field_of_both_files() -> None:
    made = ran(1, expected(a=1), {"a": Outcome.PASSED}, total=1)
    assert fields_in("The manifest of a shard") == sorted(msgspec.json.decode(made.to_json()))
    assert fields_in("The merged run") == sorted(to_json(merge([made])))


def test_the_reference_is_of_the_version_that_is_written() -> None:
    assert REFERENCE.count(f"Version {manifest.VERSION}:") == 2


def test_the_nightly_job_runs_a_command_that_exists_and_keeps_what_it_writes() -> None:
    page = (DOCS / "howto" / "doubt.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```yml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    job = yaml.load(text, Loader=yaml.BaseLoader)["jobs"]["doubt"]  # noqa: S506 - `on` is no boolean here
    (command,) = [line for line in commands(job) if line.startswith("dogfood doubt")]
    options = COMMANDS.parse(shlex.split(command)[1:])
    assert (options.budget, options.record, options.junit) == (1200, "doubt.json", "doubt.xml")
    kept = [step["with"]["path"] for step in job["steps"] if "upload" in step.get("uses", "")]
    assert kept == ["doubt.*"]
