"""What pytest's cache remembers of a run, and what becomes of a broken or a poisoned one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.command_line import dogfood

if TYPE_CHECKING:
    from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], "Inner"]

FILES = {
    "a.journey.yaml": """
        journeys:
          - {id: base, establishes: [based], steps: [run: sleep 0.5]}
          - {id: user, requires: [based], steps: [run: 'true']}
          - {id: broken, establishes: [never], steps: [run: 'false']}
          - {id: deferred, requires: [never], steps: [run: 'true']}
          - {id: alpha, steps: [run: 'true']}
          - {id: beta, steps: [run: 'true']}
          - {id: gamma, steps: [run: 'true']}
    """,
    "test_plain.py": "def test_plain(): pass",
}
CACHE = Path(".pytest_cache/v/dogfood/durations")
COMMITTED = "dogfood-durations.json"


def remembered(scene: Inner) -> dict[str, float]:
    content = json.loads((scene.path / CACHE).read_text(encoding="utf-8"))
    return {name.partition("::")[2]: seconds for name, seconds in content.items()}


@pytest.fixture(scope="module")
def scene(inner: Make) -> Inner:
    made = inner(FILES)
    made.dogfood("-n2")
    return made


def test_what_was_measured_is_remembered_and_what_was_deferred_is_not(scene: Inner) -> None:
    assert sorted(remembered(scene)) == ["alpha", "base", "beta", "broken", "gamma", "test_plain", "user"]


def test_what_a_set_up_took_to_bring_about_a_token_is_not_counted(inner: Make) -> None:
    scene = inner(FILES)
    scene.dogfood("-k", "user")
    known = remembered(scene)
    assert list(known) == ["user"]
    assert known["user"] < 0.5  # what it replays takes at least that


@pytest.mark.parametrize("content", ["{", "[]", "\ufeff{}", '{"a": 1' + "0" * 400 + "}", "[" * 20_000])
def test_a_broken_cache_disturbs_no_run_and_is_replaced(inner: Make, content: str) -> None:
    scene = inner({"a.journey.yaml": "{journeys: [{id: a, steps: [run: 'true']}]}"})
    (scene.path / CACHE).parent.mkdir(parents=True)
    (scene.path / CACHE).write_text(content, encoding="utf-8")
    assert scene.dogfood().ret == 0
    assert list(remembered(scene)) == ["a"]


def test_without_the_cache_plugin_a_run_goes_on_as_ever(inner: Make) -> None:
    scene = inner(FILES)
    assert scene.dogfood("-k", "alpha or beta", "-n2", without=["cacheprovider"]).ret == 0
    assert not (scene.path / CACHE).exists()


def test_what_took_longest_starts_first_on_workers(inner: Make) -> None:
    scene = inner(FILES)
    (scene.path / CACHE).parent.mkdir(parents=True)
    known = {
        f"a.journey.yaml::{name}": seconds for name, seconds in (("alpha", 1), ("beta", 1), ("gamma", 60))
    }
    (scene.path / CACHE).write_text(json.dumps(known), encoding="utf-8")
    result = scene.dogfood("-n1", "-v", "-k", "alpha or beta or gamma")
    first = next(line for line in result.outlines if "PASSED" in line)
    assert "::gamma" in first


def test_another_run_may_write_to_the_cache_while_workers_start(inner: Make) -> None:
    writes = f"""
        from pathlib import Path

        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_collection_modifyitems(config):
            if hasattr(config, "workerinput"):
                number = int(config.workerinput["workerid"][2:]) + 1
                cache = Path({str(CACHE)!r})
                cache.parent.mkdir(parents=True, exist_ok=True)
                cache.write_text('{{"a.journey.yaml::beta": %d}}' % number, encoding="utf-8")
    """
    scene = inner({**FILES, "conftest.py": writes})
    assert scene.dogfood("-n2", "-k", "alpha or beta").ret == 0


@pytest.mark.parametrize("workers, content", [("-n2", "{"), ("-n0", '{"version": 9, "durations": {}}')])
def test_a_broken_committed_file_is_a_usage_error(inner: Make, workers: str, content: str) -> None:
    scene = inner({**FILES, COMMITTED: content})
    result = scene.dogfood(workers, without=["cacheprovider"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{COMMITTED}*"])
    assert "INTERNALERROR" not in result.stdout.str()


FAN_OUT = {
    "fan.journey.yaml": """
        capabilities: {in: {copyable: true}}
        journeys:
          - {id: login, estimate: 5s, establishes: [in], steps: [touch "$DOGFOOD_STATE/session"]}
          - {id: buy, estimate: 5s, requires: [in], steps: [test -f "$DOGFOOD_STATE/session"]}
          - {id: pay, estimate: 5s, requires: [in], steps: [test -f "$DOGFOOD_STATE/session"]}
    """
}
COPIES = Path(".pytest_cache/v/dogfood/copies")


def test_how_long_a_copy_took_is_remembered_for_the_item_that_began_with_it(inner: Make) -> None:
    scene = inner(FAN_OUT)
    scene.dogfood("-n2")
    known = json.loads((scene.path / COPIES).read_text(encoding="utf-8"))
    assert sorted(known) == ["fan.journey.yaml::buy", "fan.journey.yaml::pay"]
    assert all(seconds > 0 for seconds in known.values())
    text = FAN_OUT["fan.journey.yaml"].replace("{copyable: true}", "{description: a session}")
    scene.write({"fan.journey.yaml": text})
    scene.dogfood("-n2")
    assert json.loads((scene.path / COPIES).read_text(encoding="utf-8")) == {}


def test_what_copies_took_is_part_of_the_forecast_and_named_if_it_is_too_much(inner: Make) -> None:
    scene = inner(FAN_OUT)
    (scene.path / COPIES).parent.mkdir(parents=True)
    known = {f"fan.journey.yaml::{name}": 20.0 for name in ("buy", "pay")}
    (scene.path / COPIES).write_text(json.dumps(known), encoding="utf-8")
    done = dogfood(scene.path, "check", "-n2")
    assert "with 2 workers about 30.0 s" in done.stdout
    assert (
        "copies for 'in' cost more than they save: without 'copyable: true' the run would take 15.0 s instead of "
        "30.0 s on 2 workers [copies-cost-more]"
    ) in done.stdout


@pytest.mark.parametrize("content", ["{", "[]", "[" * 20_000])
def test_a_broken_memory_of_copies_disturbs_no_check(inner: Make, content: str) -> None:
    scene = inner(FAN_OUT)
    (scene.path / COPIES).parent.mkdir(parents=True)
    (scene.path / COPIES).write_text(content, encoding="utf-8")
    assert "with 2 workers about 10.0 s" in dogfood(scene.path, "check", "-n2").stdout
