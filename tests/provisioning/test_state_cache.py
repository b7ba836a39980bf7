"""States that are restored from earlier runs: when they are, when they are not, and what the summary says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_dogfood.provisioning.state_cache import Entry, StateCache, cache_directory
from pytest_dogfood.settings import Settings

if TYPE_CHECKING:
    from tests.support.run_results import Run
    from tests.support.scenes import Scene

BUILT = """
capabilities:
  built:
    copyable: true
    inputs: {files: [src.txt, "lib/**"], env: [FLAVOUR], run: cat version.txt}
    probe: test -f built
    provision:
      - run: |
          echo built >>"$DOGFOOD_ROOT/made"
          cp "$DOGFOOD_ROOT/src.txt" built
          echo "$DOGFOOD_STATE" >where
          ln -s "$DOGFOOD_STATE/built" link
          echo "$DOGFOOD_STATE/built"
        save: {place: {stdout: "(.+)"}}
journeys:
  - id: look
    requires: [built]
    steps:
      - run: |
          test "$(cat where)" = "$DOGFOOD_STATE"
          test "$DOGFOOD_BUILT_PLACE" = "$DOGFOOD_STATE/built"
          test "$(readlink link)" = "$DOGFOOD_STATE/built"
        cwd: $DOGFOOD_STATE
"""


@pytest.fixture
def project(scene: Scene) -> Scene:
    """A project in which one journey needs what one provider makes."""
    scene.write("pytest.ini", "[pytest]\n")
    scene.write("src.txt", "one\n")
    scene.write("lib/a/b.txt", "two\n")
    scene.write("version.txt", "3\n")
    write(scene, BUILT)
    return scene


def write(scene: Scene, text: str) -> None:
    (scene.path / "all.journey.yaml").write_text(text)


def made(scene: Scene) -> int:
    """Return how often something was made in the project."""
    return len(scene.lines("made"))


def passed(run: Run) -> Run:
    assert run.status == 0, run.text
    return run


def entries(scene: Scene) -> list[Entry]:
    directory = cache_directory(Settings(), scene.path, os.environ)
    return [entry for entry, _ in StateCache(directory, limit=10**9).entries()]


def test_what_was_provisioned_before_is_restored_with_its_paths(project: Scene) -> None:
    first = passed(project.run("-v"))
    assert made(project) == 1
    assert "cached: the state with 'built'" in first.text
    second = passed(project.run())
    assert made(project) == 1
    line = next(line for line in second.text.splitlines() if line.startswith("restored: "))
    assert line.startswith("restored: the state with 'built' (provisioned 2")
    assert line.endswith(" instead of provisioning, for look")
    assert "provisioned built once" not in second.text


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file": lambda path: (path / "src.txt").write_text("other\n"),
    "the mode of a file": lambda path: (path / "src.txt").chmod(0o700),
    "the files that a pattern matches": lambda path: (path / "lib/more.txt").write_text("more\n"),
    "the name of a file": lambda path: (path / "lib/a").rename(path / "lib/b"),
    "the output of the command": lambda path: (path / "version.txt").write_text("4\n"),
    "the text of a step": lambda path: write_over(path, 'built >>"$D', 'built  >>"$D'),
    "the probe": lambda path: write_over(path, "test -f built", "test -s built"),
    "a default": lambda path: write_over(path, "capabilities:", "defaults: {env: {A: b}}\ncapabilities:"),
}


def write_over(path: Path, before: str, after: str) -> None:
    text = (path / "all.journey.yaml").read_text()
    assert before in text
    (path / "all.journey.yaml").write_text(text.replace(before, after))


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_provisioned_again_once_something_has_changed(project: Scene, change: str) -> None:
    passed(project.run())
    CHANGES[change](project.path)
    passed(project.run())
    assert made(project) == 2


def test_it_is_provisioned_again_for_another_value_of_a_variable(
    project: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed(project.run())
    monkeypatch.setenv("FLAVOUR", "")
    passed(project.run())
    assert made(project) == 2
    monkeypatch.delenv("FLAVOUR")
    passed(project.run())
    assert made(project) == 2


def test_where_a_definition_stands_and_what_people_read_of_it_changes_nothing(project: Scene) -> None:
    passed(project.run())
    write_over(project.path, "  built:\n", "  # a remark\n  built:\n    description: the product\n")
    passed(project.run())
    assert made(project) == 1


def test_a_pattern_that_matches_no_file_prevents_it(project: Scene) -> None:
    write_over(project.path, "src.txt, ", "scr.txt, ")
    for _ in range(2):
        run = passed(project.run("-v"))
    assert (
        "not cached: the state with 'built': 'scr.txt' under `inputs:` of 'built' matches no file" in run.text
    )
    assert made(project) == 2


def test_a_command_that_fails_prevents_it(project: Scene) -> None:
    (project.path / "version.txt").unlink()
    run = passed(project.run("-v"))
    assert "not cached: the state with 'built': `run` under `inputs:` of 'built' failed: exit 1" in run.text


REPLAYED = """
capabilities:
  in:
    copyable: true
    inputs: {files: src.txt}
journeys:
  - id: login
    establishes: [in]
    steps: ['echo login >>"$DOGFOOD_ROOT/made"; touch "$DOGFOOD_STATE/session"']
  - id: pay
    requires: [in]
    steps: ['test -f "$DOGFOOD_STATE/session"']
"""


def test_a_selected_journey_is_never_replaced(project: Scene) -> None:
    write(project, REPLAYED)
    passed(project.run())
    passed(project.run())
    assert made(project) == 2
    passed(project.run("-k", "pay"))
    assert made(project) == 3
    run = passed(project.run("-k", "pay"))
    assert made(project) == 3
    assert "restored: the state with 'in'" in run.text
    passed(project.run())
    assert made(project) == 4


SCRIPT = """#!/usr/bin/env bash
# dogfood: establishes: [in]
echo login >>"$DOGFOOD_ROOT/made"
touch "$DOGFOOD_STATE/session"
"""


def test_the_text_of_a_script_counts(project: Scene) -> None:
    write(project, REPLAYED[: REPLAYED.index("  - id: login")] + REPLAYED[REPLAYED.index("  - id: pay") :])
    script = project.path / "login.journey.sh"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    passed(project.run("-k", "pay"))
    run = passed(project.run("-k", "pay"))
    assert "restored: the state with 'in'" in run.text
    script.write_text(SCRIPT + "touch more\n")
    passed(project.run("-k", "pay"))
    assert made(project) == 2


def test_what_its_probe_refuses_is_provisioned_and_replaced_in_the_cache(project: Scene) -> None:
    project.write("now", "1\n")
    write_over(project.path, "probe: test -f built", 'probe: cmp now "$DOGFOOD_ROOT/now"')
    write_over(project.path, "cp ", 'cp "$DOGFOOD_ROOT/now" now; cp ')
    passed(project.run())
    project.write("now", "2\n")
    run = passed(project.run())
    assert made(project) == 2
    assert (
        "not restored: the state with 'built': the probe of 'built' exited 1; it was provisioned" in run.text
    )
    passed(project.run())
    assert made(project) == 2
    assert len(entries(project)) == 1


def test_an_entry_that_was_damaged_is_provisioned_and_replaced(project: Scene) -> None:
    passed(project.run())
    directory = cache_directory(Settings(), project.path, os.environ)
    (directory / entries(project)[0].key / "state" / "where").unlink()
    run = passed(project.run())
    assert made(project) == 2
    assert "not restored: the state with 'built': .: it is not as it was stored" in run.text
    passed(project.run())
    assert made(project) == 2


def test_a_state_with_a_secret_value_is_not_stored(project: Scene) -> None:
    write_over(project.path, 'stdout: "(.+)"', 'stdout: "(.+)", secret: true')
    run = passed(project.run("-v"))
    assert "not cached: the state with 'built': a value of 'built' is secret" in run.text
    assert not entries(project)


@pytest.mark.parametrize("command", ['echo "$PASSWORD" >kept', 'touch "$PASSWORD"', 'ln -s "$PASSWORD" kept'])
def test_a_state_with_a_secret_in_its_files_is_not_stored(
    project: Scene, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("PASSWORD", "opensesame")
    project.write("pytest.ini", "[pytest]\ndogfood_secrets = PASSWORD\n")
    write_over(project.path, "cp ", f"{command}; cp ")
    run = passed(project.run("-v"))
    assert "not cached: the state with 'built': " in run.text
    assert "a secret" in run.text
    assert not entries(project)


@pytest.mark.parametrize("variable", ["CI", "BUILD_NUMBER"])
def test_there_is_no_cache_on_a_ci_system_unless_it_is_asked_for(
    project: Scene, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    passed(project.run())
    monkeypatch.setenv(variable, "1")
    passed(project.run())
    assert made(project) == 2
    passed(project.run("-o", "dogfood_cache=on"))
    assert made(project) == 2


def test_it_can_be_switched_off(project: Scene) -> None:
    passed(project.run("--dogfood-cache=off"))
    assert not entries(project)
    passed(project.run())
    passed(project.run("-o", "dogfood_cache=off"))
    assert made(project) == 3


def test_where_provisioning_is_forbidden_nothing_is_restored(project: Scene) -> None:
    passed(project.run())
    assert project.run("--dogfood-provision", "never").cases["look"].kind == "error"


def test_two_runs_at_once_store_one_state(project: Scene) -> None:
    write_over(
        project.path,
        "cp ",
        '(cd "$DOGFOOD_ROOT"; touch in-$DOGFOOD_RUN; until test "$(ls | grep -c ^in-)" = 2; do sleep 0.1; done); cp ',
    )
    ends = [project.start(), project.start()]
    for end in ends:
        passed(end())
    assert made(project) == 2
    assert len(entries(project)) == 1
    passed(project.run())
    assert made(project) == 2


PARTS = BUILT + "".join(
    f"  - {{id: look-{number}, requires: [built], steps: ['test -f \"$DOGFOOD_STATE/built\"']}}\n"
    for number in range(3)
)


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_what_parts_share_is_restored_once(project: Scene, workers: str) -> None:
    write(project, PARTS)
    passed(project.run(workers))
    assert made(project) == 1
    run = passed(project.run(workers))
    assert made(project) == 1
    assert run.text.count("restored: ") == 1


BUILDS = """
capabilities:
  fetched: {copyable: true, probe: 'test -f "$DOGFOOD_STATE/fetched"', inputs: {files: src.txt}}
  built: {copyable: true, probe: 'test -f "$DOGFOOD_STATE/built"', inputs: {files: src.txt}}
  packed: {copyable: true, probe: 'test -f "$DOGFOOD_STATE/packed"', inputs: {files: version.txt}}
journeys:
  - {id: fetch, establishes: [fetched], steps: ['touch "$DOGFOOD_STATE/fetched"; echo fetched >>"$DOGFOOD_ROOT/made"']}
  - id: build
    requires: [fetched]
    establishes: [built]
    steps: ['touch "$DOGFOOD_STATE/built"; echo built >>"$DOGFOOD_ROOT/made"']
  - id: pack
    requires: [fetched]
    establishes: [packed]
    steps: ['touch "$DOGFOOD_STATE/packed"; echo packed >>"$DOGFOOD_ROOT/made"']
  - {id: leaf-of-build-1, requires: [built], steps: [run: 'test -f "$DOGFOOD_STATE/fetched"']}
  - {id: leaf-of-build-2, requires: [built], steps: [run: 'test -f "$DOGFOOD_STATE/fetched"']}
  - {id: leaf-of-pack-1, requires: [packed], steps: [run: 'test -f "$DOGFOOD_STATE/fetched"']}
  - {id: leaf-of-pack-2, requires: [packed], steps: [run: 'test -f "$DOGFOOD_STATE/fetched"']}
"""


@pytest.mark.parametrize("chosen", ["leaf", "leaf-of-build-1 or leaf-of-pack-1"])
@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_behind_a_chain_of_builds_the_deepest_state_is_restored(
    project: Scene, workers: str, chosen: str
) -> None:
    write(project, BUILDS)
    passed(project.run(workers, "-k", chosen))
    before = project.lines("made")
    assert len(before) == len(set(before))
    passed(project.run(workers, "-k", chosen))
    assert project.lines("made") == before


def test_only_what_has_changed_in_a_chain_of_builds_is_made_again(project: Scene) -> None:
    write(project, BUILDS)
    passed(project.run("-n0", "-k", "leaf"))
    project.write("version.txt", "other\n")
    passed(project.run("-n0", "-k", "leaf"))
    assert sorted(project.lines("made")) == ["built", "fetched", "packed", "packed"]


def test_a_copy_of_a_state_in_which_an_item_ran_is_not_stored(project: Scene) -> None:
    write(project, BUILDS)
    passed(project.run("-n0", "-k", "fetch or leaf-of-build-1"))
    assert entries(project) == []


CHAIN = """
capabilities:
  fetched:
    copyable: true
    inputs: {files: src.txt}
    provision: ['echo fetched >>"$DOGFOOD_ROOT/made"; touch fetched']
  built:
    copyable: true
    inputs: {files: version.txt}
    requires: [fetched]
    provision: ['echo built >>"$DOGFOOD_ROOT/made"; touch built']
journeys:
  - id: look
    requires: [built]
    steps: ['cd "$DOGFOOD_STATE"; test -f fetched; test -f built']
"""


def test_a_state_of_several_tokens_depends_on_the_inputs_of_all(project: Scene) -> None:
    write(project, CHAIN)
    passed(project.run())
    run = passed(project.run())
    assert "restored: the state with 'fetched', 'built'" in run.text
    assert made(project) == 2
    project.write("src.txt", "other\n")
    passed(project.run())
    assert made(project) == 4


def test_a_state_with_a_token_without_inputs_is_not_stored(project: Scene) -> None:
    write(project, CHAIN.replace("    inputs: {files: src.txt}\n", ""))
    for _ in range(2):
        run = passed(project.run("-v"))
    assert made(project) == 4
    assert "not cached: the state with 'built': 'fetched' has no `inputs:`" in run.text


def test_a_state_in_which_another_token_is_made_is_not_stored(project: Scene) -> None:
    write(
        project,
        CHAIN.replace("requires: [built]", "requires: [built, other]").replace(
            "journeys:", "  other: {provision: ['touch x']}\njourneys:"
        ),
    )
    run = passed(project.run("-v"))
    assert "not cached: the state with 'built', 'other': 'other' is not copyable" in run.text


MACHINE = """
capabilities:
  server:
    scope: machine
    probe: 'test "$(cat "$DOGFOOD_ROOT/address")" = "$DOGFOOD_SERVER_ADDRESS"'
    provision: [{run: 'cat "$DOGFOOD_ROOT/address"', save: {address: {stdout: "(.+)"}}}]
  in:
    copyable: true
    inputs: {files: src.txt}
    requires: [server]
    provision: ['echo in >>"$DOGFOOD_ROOT/made"; echo "$DOGFOOD_SERVER_ADDRESS" >for']
journeys:
  - {id: pay, requires: [in], steps: ['cmp "$DOGFOOD_STATE/for" "$DOGFOOD_ROOT/address"']}
"""


def test_values_of_what_it_needs_of_the_machine_are_part_of_the_key(project: Scene) -> None:
    write(project, MACHINE)
    project.write("address", "here:1\n")
    passed(project.run())
    passed(project.run())
    assert made(project) == 1
    project.write("address", "there:2\n")
    passed(project.run())
    assert made(project) == 2


def test_what_was_made_with_a_service_is_not_stored(project: Scene) -> None:
    service = "    scope: machine\n    probe: 'true'\n    service: {run: exec sleep 60}\n"
    start, end = MACHINE.index("    scope"), MACHINE.index("  in:")
    write(project, f"{MACHINE[:start]}{service}{MACHINE[end:]}".replace("cmp ", "ls "))
    project.write("address", "")
    run = passed(project.run("-v"))
    assert "not cached: the state with 'in': 'server', which it needs, is a service of one run" in run.text


def test_a_cache_that_others_can_write_to_is_refused(project: Scene, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    run = passed(project.run("-o", f"dogfood_cache_dir={shared}"))
    assert f"no cache: {shared} can be written to by others, who could decide what passes" in run.text
    assert not list(shared.iterdir())


def test_a_failure_says_that_its_state_was_restored(project: Scene) -> None:
    write_over(project.path, 'test "$(cat where)"', 'test ! -e "$DOGFOOD_ROOT/broken"; test "$(cat where)"')
    first = passed(project.run())
    assert "its state was restored" not in first.text
    project.write("broken", "")
    second = project.run()
    assert second.cases["look"].kind == "failure"
    assert "note: its state was restored from the cache (provisioned " in second.text
    assert " ago); dogfood cache --clear begins anew" in second.text


def test_a_failure_in_a_copy_of_a_restored_state_says_so(project: Scene) -> None:
    write(project, PARTS)
    passed(project.run("-n0"))
    write_over(
        project.path,
        "id: look-1, requires: [built], steps: ['test -f",
        "id: look-1, requires: [built], steps: ['test ! -f",
    )
    run = project.run("-n0")
    assert made(project) == 1
    assert run.text.count("note: its state was restored from the cache") == 1


def test_a_rerun_begins_without_the_cache(project: Scene) -> None:
    passed(project.run())
    write_over(
        project.path,
        'test "$(cat where)"',
        'echo >>"$DOGFOOD_ROOT/tries"; test "$(wc -l <"$DOGFOOD_ROOT/tries")" = 2; test "$(cat where)"',
    )
    passed(project.run("--reruns", "1"))
    assert made(project) == 2


def test_nothing_is_restored_for_a_journey_that_is_deferred(project: Scene) -> None:
    write_over(project.path, "requires: [built]", "requires: [built, other]")
    write_over(
        project.path,
        "journeys:",
        "  other: {copyable: true, inputs: {files: src.txt}, provision: ['true']}\njourneys:",
    )
    passed(project.run())
    run = project.run("--dogfood-blocked", "other")
    assert run.closing_line.startswith("dogfood: 1 journey = 1 deferred")
    assert "restored" not in run.text
    assert "restored: the state with 'built', 'other'" in passed(project.run()).text


def test_what_is_larger_than_the_cache_is_not_stored(project: Scene) -> None:
    run = passed(project.run("-v", "-o", "dogfood_cache_limit=10"))
    assert "not cached: the state with 'built': .: it has more than 10 bytes" in run.text


def test_what_cannot_be_copied_is_not_stored(project: Scene) -> None:
    write_over(project.path, "cp ", "mkfifo pipe; cp ")
    run = passed(project.run("-v"))
    assert "not cached: the state with 'built': pipe: it is a FIFO" in run.text


def test_without_inputs_nothing_of_it_is_loaded(project: Scene) -> None:
    project.write(
        "conftest.py",
        """
        import sys
        def pytest_unconfigure():
            names = ("restoration", "state_cache", "state_inputs")
            loaded = [one for one in names if f"pytest_dogfood.provisioning.{one}" in sys.modules]
            open("loaded", "w").write(" ".join(loaded))
        """,
    )
    passed(project.run())
    assert project.lines("loaded") == ["restoration state_cache state_inputs"]
    write(project, "\n".join(line for line in BUILT.splitlines() if "inputs:" not in line))
    passed(project.run())
    assert project.lines("loaded") == []
