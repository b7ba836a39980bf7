"""Real shards and their merge: together they are one run, however each of them ended."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import pytest

from pytest_dogfood.session.durations import COMMITTED, read_durations
from tests.support.scenes import Inner, Scene

Make = Callable[[Mapping[str, str]], Inner]

FILES = {
    "dogfood.yaml": "{capabilities: {up: {scope: machine, probe: 'test -f $DOGFOOD_SHARED/up'}}}",
    "up.journey.yaml": "{journeys: [{id: start, establishes: [up], steps: [run: touch $DOGFOOD_SHARED/up]}]}",
    "a.journey.yaml": """
        journeys:
          - {id: gate, tier: smoke, gating: true, steps: [run: 'true']}
          - {id: a1, establishes: [a], requires: [up], steps: [run: 'true']}
          - {id: a2, requires: [a], steps: [run: 'true']}
          - {id: bad, establishes: [never], steps: [run: echo no >&2; exit 3]}
          - {id: after-bad, requires: [never], steps: [run: 'true']}
          - {id: b1, requires: [up], steps: [run: 'true']}
          - {id: b2, requires: [up], steps: [run: 'true']}
          - {id: skipped, marks: [skip], steps: [run: 'true']}
    """,
    "test_plain.py": "def test_one(): pass\ndef test_two(): pass",
}


def command(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest_dogfood", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def manifest(directory: Path, name: str = "dogfood-shard-1-of-1.json") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / name).read_text(encoding="utf-8"))
    return content


def outcomes(content: Mapping[str, Any]) -> dict[str, str]:
    return {item["nodeid"].partition("::")[2]: item["outcome"] for item in content["items"]}


def kinds(path: Path) -> Counter[tuple[str | None, str | None, tuple[str, ...]]]:
    """Return what JUnit says of each case: class, name, and the tags of what was said against it."""
    return Counter(
        (case.get("classname"), case.get("name"), tuple(one.tag for one in case if one.tag != "properties"))
        for case in ET.parse(path).iter("testcase")  # noqa: S314 - a run of ours has written it
    )


def messages(path: Path) -> set[str]:
    """Return the first lines of what JUnit says against items."""
    said = [case for case in ET.parse(path).iter() if "message" in case.attrib]  # noqa: S314 - as above
    return {one.attrib["message"].partition("\n")[0] for one in said}


class Whole(NamedTuple):
    scene: Inner
    unsharded: pytest.RunResult
    shards: list[pytest.RunResult]
    merged: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def whole(inner: Make) -> Whole:
    scene = inner(FILES)
    unsharded = scene.dogfood("--junitxml=one.xml")
    shards = [scene.dogfood(f"--dogfood-shard={number}/3") for number in (1, 2, 3)]
    names = [f"dogfood-shard-{number}-of-3.json" for number in (3, 1, 2)]
    writing = (
        "--junit",
        "out/all.xml",
        "--json",
        "out/all.json",
        "--durations",
        "out/dogfood-durations.json",
    )
    return Whole(scene, unsharded, shards, command(scene.path, "merge", *names, *writing))


def closing(lines: list[str]) -> str:
    return next(line for line in lines if line.startswith("dogfood: ") and " = " in line)


def test_the_merged_run_ends_as_the_unsharded_one(whole: Whole) -> None:
    assert whole.merged.returncode == whole.unsharded.ret == 1
    assert closing(whole.merged.stdout.splitlines()) == closing(whole.unsharded.outlines)
    assert kinds(whole.scene.path / "out/all.xml") == kinds(whole.scene.path / "one.xml")
    assert messages(whole.scene.path / "out/all.xml") == messages(whole.scene.path / "one.xml")


def test_each_shard_says_where_its_manifest_is(whole: Whole) -> None:
    for number, shard in enumerate(whole.shards, 1):
        shard.stdout.fnmatch_lines([f"dogfood: wrote */dogfood-shard-{number}-of-3.json"])


def test_the_failure_is_named_with_its_shard_and_cause(whole: Whole) -> None:
    assert "failed: a.journey.yaml::bad on shard " in whole.merged.stdout
    assert "deferred: after-bad, because bad failed" in whole.merged.stdout


def test_a_machine_token_is_provisioned_on_each_shard_and_the_merge_says_so(whole: Whole) -> None:
    replayed = manifest(whole.scene.path, "out/all.json")["replayed"]
    needing = {
        number
        for number in (1, 2, 3)
        if outcomes(manifest(whole.scene.path, f"dogfood-shard-{number}-of-3.json")).keys()
        & {"a1", "b1", "b2"}
    }
    assert {*replayed["start"], started_on(whole)} >= needing
    assert len(needing) > 1


def started_on(whole: Whole) -> int:
    names = (f"dogfood-shard-{number}-of-3.json" for number in (1, 2, 3))
    return next(n for n, name in enumerate(names, 1) if "start" in outcomes(manifest(whole.scene.path, name)))


def test_the_plan_of_each_shard_says_what_it_provisions(whole: Whole) -> None:
    for number in {1, 2, 3} - {started_on(whole)}:
        name = f"dogfood-shard-{number}-of-3.json"
        if outcomes(manifest(whole.scene.path, name)).keys() & {"a1", "b1", "b2"}:
            checked = whole.scene.dogfood("--dogfood-check", f"--dogfood-shard={number}/3")
            checked.stdout.fnmatch_lines(["provision: up, by replaying start, once for the machine; *"])


def test_the_durations_are_a_file_to_commit(whole: Whole) -> None:
    measured = read_durations(whole.scene.path / "out" / COMMITTED)
    assert "a.journey.yaml::a1" in measured
    assert "a.journey.yaml::after-bad" not in measured


def test_a_missing_shard_makes_the_merge_red_and_its_items_errors(whole: Whole) -> None:
    done = command(
        whole.scene.path, "merge", "dogfood-shard-1-of-3.json", "dogfood-shard-3-of-3.json", "--junit=m.xml"
    )
    assert done.returncode == 1
    assert "missing: shard 2/3; its items are unaccounted for" in done.stdout
    lost = outcomes(manifest(whole.scene.path, "dogfood-shard-2-of-3.json"))
    errors = {name for (_, name, tags), _ in kinds(whole.scene.path / "m.xml").items() if tags == ("error",)}
    assert errors == set(lost)


def test_shards_of_different_plans_are_not_merged(whole: Whole) -> None:
    whole.scene.dogfood("--dogfood-shard=2/3", "-k", "not b2", "--dogfood-manifest=new/other.json")
    done = command(whole.scene.path, "merge", "dogfood-shard-1-of-3.json", "new/other.json")
    assert done.returncode == 4
    assert "the shards made different plans" in done.stderr


@pytest.mark.parametrize(
    "content, words",
    [("{", "truncated"), ('{"version": 99}', "newer version"), (None, "No such file or directory")],
)
def test_what_is_no_manifest_is_a_usage_error(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "m.json").write_text(content, encoding="utf-8")
    done = command(tmp_path, "merge", "m.json")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("dogfood merge: m.json: ")
    assert words in done.stderr


def test_the_command_that_checks_a_shard_divides_the_project_as_a_run_does(whole: Whole) -> None:
    done = command(whole.scene.path, "check", "--shard=1/3", "--format=json")
    planned = {one["id"] for one in json.loads(done.stdout)["plan"]["journeys"]}
    here = outcomes(manifest(whole.scene.path, "dogfood-shard-1-of-3.json"))
    assert planned == {name for name in here if not name.startswith("test_")}


def test_a_poisoned_cache_and_another_order_do_not_change_the_partition(whole: Whole) -> None:
    cache = whole.scene.path / ".pytest_cache/v/dogfood/durations"
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text(json.dumps({"a.journey.yaml::a2": 999.0, "a.journey.yaml::b1": 500.0}), encoding="utf-8")
    files = ["test_plain.py", "up.journey.yaml", "a.journey.yaml"]
    whole.scene.dogfood("--dogfood-shard=1/3", "--dogfood-manifest=again.json", "-n2", *files)
    again, before = (manifest(whole.scene.path, name) for name in ("again.json", "dogfood-shard-1-of-3.json"))
    assert again["digest"] == before["digest"]
    assert outcomes(again) == outcomes(before)


STOPPED = {
    "a.journey.yaml": """
        journeys:
          - {id: bad, steps: [run: 'false']}
          - {id: late, steps: [run: 'true']}
    """
}


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_a_shard_that_stops_at_the_first_failure_leaves_a_manifest(inner: Make, workers: str) -> None:
    scene = inner(STOPPED)
    assert scene.dogfood("--dogfood-shard=1/1", "-x", workers).ret != 0
    assert outcomes(manifest(scene.path)) == {"bad": "failed"}
    done = command(scene.path, "merge", "dogfood-shard-1-of-1.json")
    assert done.returncode == 1
    assert "unaccounted: a.journey.yaml::late" in done.stdout


def test_a_shard_whose_worker_dies_leaves_a_manifest(inner: Make) -> None:
    scene = inner({"test_a.py": "import os\ndef test_dies(): os._exit(1)\ndef test_lives(): pass", **STOPPED})
    scene.dogfood("--dogfood-shard=1/1", "-n1")
    assert outcomes(manifest(scene.path)) == {
        "bad": "failed",
        "late": "passed",
        "test_dies": "error",
        "test_lives": "passed",
    }


def test_a_shard_that_is_interrupted_leaves_a_manifest(scene: Scene) -> None:
    scene.write("pytest.ini", "[pytest]\n")
    scene.write(
        "test_a.py",
        """
        import os, signal

        def test_one():
            pass

        def test_two():
            os.kill(os.getpid(), signal.SIGINT)
        """,
    )
    assert scene.run("--dogfood-shard=1/1").status == pytest.ExitCode.INTERRUPTED
    assert outcomes(manifest(scene.path))["test_one"] == "passed"
    done = command(scene.path, "merge", "dogfood-shard-1-of-1.json")
    assert done.returncode == 1
    assert "shard 1/1 was interrupted (exit status 2)" in done.stdout


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_a_file_that_cannot_be_collected_keeps_the_merge_red(inner: Make, workers: str) -> None:
    scene = inner({"test_a.py": "def test_one(): pass", "test_broken.py": "import no_such_module"})
    scene.dogfood("--dogfood-shard=1/1", workers, "--continue-on-collection-errors")
    done = command(scene.path, "merge", "dogfood-shard-1-of-1.json")
    assert done.returncode == 1
    assert "could not be collected: test_broken.py" in done.stdout


def test_a_run_that_is_refused_leaves_no_older_manifest_behind(inner: Make) -> None:
    scene = inner({"a.journey.yaml": "{journeys: [{id: a, steps: [run: 'true']}]}"})
    assert scene.dogfood("--dogfood-shard=1/1").ret == 0
    assert scene.dogfood("--dogfood-shard=1/1", "--collect-only").ret == 0
    assert outcomes(manifest(scene.path)) == {"a": "passed"}
    scene.write({"a.journey.yaml": "{journeys: [{id: a, requires: [nothing], steps: [run: 'true']}]}"})
    assert scene.dogfood("--dogfood-shard=1/1").ret == pytest.ExitCode.USAGE_ERROR
    assert not (scene.path / "dogfood-shard-1-of-1.json").exists()


def test_plain_tests_keep_their_outcomes_and_everything_said_against_them(inner: Make) -> None:
    scene = inner(
        {
            "test_a.py": r"""
                import pytest

                @pytest.fixture
                def breaks():
                    yield
                    raise RuntimeError("teardown broke")

                def test_twice(breaks): pytest.fail("call broke: \udc80")
                def test_late(breaks): pass
                @pytest.mark.xfail
                def test_better(): pass
                @pytest.mark.xfail
                def test_known(): assert 0
                def test_part(request):
                    if pytest.version_tuple < (9,):  # which has no subtests
                        return
                    with request.getfixturevalue("subtests").test("one"): pytest.skip("not here")
            """
        }
    )
    scene.dogfood("--dogfood-shard=1/1", "--tb=no", "-rN")
    content = manifest(scene.path)
    assert outcomes(content) == {
        "test_twice": "failed",
        "test_late": "error",
        "test_better": "xpassed",
        "test_known": "xfailed",
        "test_part": "passed",
    }
    text = next(item["text"] for item in content["items"] if item["nodeid"].endswith("twice"))
    assert "call broke" in text
    assert "teardown broke" in text


def test_an_empty_shard_leaves_a_manifest_that_completes_the_run(inner: Make) -> None:
    scene = inner({"a.journey.yaml": "{journeys: [{id: a, steps: [run: 'true']}]}"})
    shards = [scene.dogfood(f"--dogfood-shard={number}/2", "-n1") for number in (1, 2)]
    assert [shard.ret for shard in shards] == [0, 0]
    done = command(scene.path, "merge", "dogfood-shard-1-of-2.json", "dogfood-shard-2-of-2.json")
    assert done.returncode == 0
    assert "dogfood: 2 of 2 shards, 1 item; plan " in done.stdout


def test_the_shard_of_a_ci_system_is_read_from_its_environment(
    inner: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI_NODE_INDEX", "2")
    monkeypatch.setenv("CI_NODE_TOTAL", "2")
    scene = inner({"a.journey.yaml": "{journeys: [{id: a, steps: [run: 'true']}]}"})
    scene.dogfood("--dogfood-shard=ci").stdout.fnmatch_lines(["dogfood: shard 2/2 has nothing to run"])
