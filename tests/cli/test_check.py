"""`dogfood check` and `pytest --dogfood-check`: every finding at its place, the plan, and nothing done."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.behaviour.test_off import Make
from tests.support.command_line import dogfood, tree
from tests.support.scenes import Inner

SOUND_BUT_ODD = {
    "pytest.ini": "[pytest]\naddopts = -ra -q -n auto\nfilterwarnings = error\n",
    "conftest.py": "",
    "test_broken.py": "raise AssertionError('collected')",
    "dogfood.yaml": """
        capabilities:
          base: {probe: touch "$DOGFOOD_ROOT/probed"}
          up: {scope: machine, requires: [base], provision: [{run: touch "$DOGFOOD_ROOT/provided"}]}
        """,
    "shop.journey.yaml": """
        journeys:
          - id: buy
            tier: smoke
            requires: [base, up]
            steps: [run: touch "$DOGFOOD_ROOT/stepped"]
          - id: open-shop
            tier: deep
            establishes: [base]
            steps: [run: touch "$DOGFOOD_ROOT/stepped"]
        """,
}

BROKEN = {
    "shop.journey.yaml": """
        journeys:
          - {id: a, requires: [sesion], establishes: [one], steps: [run: 'true']}
          - {id: b, requires: [two], establishes: [session, three], steps: [run: 'true']}
          - {id: c, requires: [three], establishes: [two], steps: [run: 'true']}
          - {id: c, steps: [run: 'true']}
          - {id: late, tier: deep, establishes: [night], steps: [run: 'true']}
          - {id: gate, tier: smoke, gating: true, requires: [night], steps: [run: 'true']}
          - {id: left, requires: [one], workdir: box, steps: [run: 'true']}
          - {id: right, requires: [one], workdir: box, steps: [run: 'true']}
        """,
    "dogfood.yaml": """
        capabilities:
          nothing: {}
          night: {probe: 'true'}
        """,
    "more.journey.yaml": """
        capabilities: {night: {probe: 'true'}}
        journeys:
          - {id: z, requires: [nothing], steps: [run: 'true']}
        """,
}


def found_by(done: CompletedProcess[str]) -> list[str]:
    """Return severity, code and place of each finding."""
    return [
        f"{one['severity']} {one['code']} {one['path']}:{one['line']}:{one['column']}"
        for one in json.loads(done.stdout)["findings"]
    ]


@pytest.fixture(scope="module")
def odd(inner: Make) -> Inner:
    return inner(SOUND_BUT_ODD)


@pytest.fixture(scope="module")
def printed(odd: Inner) -> CompletedProcess[str]:
    before = tree(odd.path)
    done = dogfood(odd.path, "check")
    assert tree(odd.path) == before
    return done


def test_a_valid_project_is_shown_with_its_findings_and_its_plan(printed: CompletedProcess[str]) -> None:
    assert (printed.returncode, printed.stderr) == (0, "")
    lines = printed.stdout.splitlines()
    assert "chain open-shop (2, 2.0 s) on gw0:" in lines
    assert lines[-1] == "dogfood: the graph is valid (2 warnings, 1 remark); nothing was run"
    assert "provision: up, by its provision steps, once for the machine; first for buy" in lines


def test_findings_come_with_file_line_column_and_cure(printed: CompletedProcess[str]) -> None:
    assert (
        "warning: shop.journey.yaml:5:16: 'buy' of tier 'smoke' needs 'open-shop' of the later tier 'deep' "
        "(shop.journey.yaml:7:9) [tier-inversion]\n"
        "    hint: move 'open-shop' to tier 'smoke', or 'buy' to tier 'deep'\n"
    ) in printed.stdout


def test_without_a_terminal_there_are_no_colours(printed: CompletedProcess[str]) -> None:
    assert "\033" not in printed.stdout


def test_strict_makes_errors_of_warnings_and_leaves_remarks(odd: Inner) -> None:
    done = dogfood(odd.path, "check", "--strict", "--format=json")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert found_by(done) == [
        "info no-probe dogfood.yaml:4:3",
        "error machine-needs-chain dogfood.yaml:4:35",
        "error tier-inversion shop.journey.yaml:5:16",
    ]
    content = json.loads(done.stdout)
    assert (content["valid"], content["plan"]["forecast"]) == (False, None)


@pytest.mark.parametrize("command", [("check",), ("explain", "buy"), ("graph",)])
def test_a_file_that_a_project_lets_each_run_write_is_left_alone(
    inner: Make, command: tuple[str, ...]
) -> None:
    ini = "[pytest]\naddopts = --junitxml=results.xml --dogfood-report=report.md\n"
    scene = inner({**SOUND_BUT_ODD, "pytest.ini": ini, "results.xml": "of the last run"})
    before = tree(scene.path)
    assert dogfood(scene.path, *command).returncode == 0
    assert tree(scene.path) == before


def test_pytest_shows_the_same_and_writes_nothing_either(inner: Make) -> None:
    scene = inner({**SOUND_BUT_ODD, "test_broken.py": "def test_beside(): raise AssertionError"})
    before = tree(scene.path)
    done = scene.typed("--dogfood-check", "-n", "8")
    assert tree(scene.path) == before
    assert done.ret == 0
    done.stdout.fnmatch_lines(
        [
            "info: dogfood.yaml:4:3: 'up' has no probe*",
            "2 journeys in 1 chain: * with 8 workers * beside 1 test outside of the graph",
            "dogfood: the graph is valid (2 warnings, 1 remark); nothing was run",
        ]
    )
    assert "Error" not in done.stdout.str()


@pytest.mark.parametrize(
    "options", [("-v",), ("-vv", "--lf"), ("--cache-show",), ("-o", "cache_dir=elsewhere")]
)
def test_pytest_finds_all_that_it_looks_for_in_a_cache_that_nothing_writes_to(
    inner: Make, options: tuple[str, ...]
) -> None:
    scene = inner({"a.journey.yaml": "steps: ['true']\n"})
    before = tree(scene.path)
    done = scene.typed("--dogfood-check", *options)
    assert done.ret == 0
    assert tree(scene.path) == before


def test_pytest_counts_warnings_as_errors_under_dogfood_strict(odd: Inner) -> None:
    done = odd.typed("--dogfood-check", "--dogfood-strict", "--ignore=test_broken.py")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stdout.fnmatch_lines(["*the graph is not valid (2 errors, 1 remark); nothing was run"])


@pytest.fixture(scope="module")
def broken(inner: Make) -> CompletedProcess[str]:
    return dogfood(inner(BROKEN).path, "check", "--format", "json")


def test_every_error_of_a_project_is_found_at_once(broken: CompletedProcess[str]) -> None:
    assert broken.returncode == pytest.ExitCode.USAGE_ERROR
    codes = {line.split()[1] for line in found_by(broken)}
    assert codes >= {"cycle", "duplicate-id", "duplicate-capability", "gate-needs-later-tier"}


@pytest.mark.parametrize(
    "code, text, hint",
    [
        ("cycle", "b -> c -> b", "give one of these tokens"),
        (
            "duplicate-id",
            "the id 'c' occurs here and at shop.journey.yaml:5:10",
            "give one of them another id",
        ),
        ("duplicate-capability", "'night' is already defined, at ", "define it once"),
        ("gate-needs-later-tier", "needs 'late' of the later tier 'deep'", "move 'late' to tier 'smoke'"),
    ],
)
def test_an_error_says_where_what_and_what_next(
    broken: CompletedProcess[str], code: str, text: str, hint: str
) -> None:
    findings = json.loads(broken.stdout)["findings"]
    found = next(one for one in findings if one["code"] == code)
    assert text in found["message"]
    assert hint in found["hint"]
    assert min(found["line"], found["column"]) >= 1


def test_a_cycle_shows_the_line_of_each_edge(broken: CompletedProcess[str]) -> None:
    assert "'b' requires 'two' (shop.journey.yaml:4:24)" in broken.stdout
    assert "'c' requires 'three' (shop.journey.yaml:5:24)" in broken.stdout


def test_where_all_files_are_whole_what_the_graph_lacks_is_found_too(inner: Make) -> None:
    scene = inner(
        {
            "shop.journey.yaml": BROKEN["shop.journey.yaml"].replace("- {id: c, steps", "- {id: d, steps"),
            "dogfood.yaml": "capabilities: {nothing: {}}",
        }
    )
    done = dogfood(scene.path, "check", "--format", "json")
    assert {line.split()[1] for line in found_by(done)} >= {
        "cycle",
        "empty-capability",
        "gate-needs-later-tier",
        "unknown-token",
        "workdir-conflict",
    }
    assert "error unknown-token shop.journey.yaml:3:24" in found_by(done)
    assert "did you mean 'session'?" in done.stdout


def test_a_token_that_the_text_of_a_python_test_establishes_is_known(inner: Make) -> None:
    files = {
        "a.journey.yaml": "journeys: [{id: a, requires: [moon], steps: [run: 'true']}]",
        "test_moon.py": "import pytest\n@pytest.mark.establishes('moon')\ndef test_moon(): pass",
    }
    project = inner(files)
    assert (dogfood(project.path, "check").returncode, project.dogfood().ret) == (0, 0)


def test_a_misspelt_token_is_answered_with_one_that_a_python_test_establishes(inner: Make) -> None:
    files = {
        "a.journey.yaml": "journeys: [{id: a, requires: [acount], steps: [run: 'true']}]",
        "test_a.py": "import pytest\n@pytest.mark.establishes('account')\ndef test_a(): pass",
    }
    done = dogfood(inner(files).path, "check")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "hint: did you mean 'account'?" in done.stdout


def test_a_place_too_long_for_sockets_is_found_at_the_ini_key(inner: Make) -> None:
    scene = inner(
        {
            "pytest.ini": f"[pytest]\ndogfood_state_root = /tmp/{'x' * 60}\n",
            "a.journey.yaml": "journeys: [{id: a, steps: [run: 'true']}]",
        }
    )
    done = dogfood(scene.path, "check", "--format=json")
    assert (done.returncode, found_by(done)) == (4, ["error state-path-too-long pytest.ini:2:1"])
    by_option = scene.typed("--dogfood-check", "-o", f"dogfood_state_root={scene.path / ('y' * 60)}")
    assert by_option.ret == pytest.ExitCode.USAGE_ERROR
    by_option.stdout.fnmatch_lines([f"{scene.path}*[[]state-path-too-long]"])


NOTHING = {"pytest.ini": "[pytest]\n", "test_plain.py": "def test_it(): pass\n"}
WHAT_TO_DO = "name a file like shop.journey.yaml, or let dogfood write a first one: dogfood new project DIR"


@pytest.mark.parametrize("options", [(), ("--strict",), ("--format=json",)])
def test_a_check_of_nothing_exits_with_5_and_says_so(inner: Make, options: tuple[str, ...]) -> None:
    done = dogfood(inner(NOTHING).path, "check", *options)
    assert done.returncode == 5
    told = (done.stderr if options == ("--format=json",) else done.stdout).splitlines()
    assert "nothing to check" in told[-1]
    assert f"there is no journey file here: {WHAT_TO_DO}" in told[-1]
    assert told[-1].endswith("but pytest --dogfood-check does")


@pytest.mark.parametrize("options", [(), ("--dogfood-strict",)])
def test_pytest_says_the_same_of_a_check_of_nothing(inner: Make, options: tuple[str, ...]) -> None:
    done = inner(NOTHING).dogfood("--dogfood-check", *options)
    assert done.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    why = "there is no journey file here, and no test requires or establishes a token"
    done.stdout.fnmatch_lines([f"dogfood: nothing to check (no findings): {why}: {WHAT_TO_DO}"])


def test_a_check_of_files_with_wrong_names_only_is_one_of_nothing(inner: Make) -> None:
    path = inner({"login.journeys.yaml": "journeys: [{id: a, steps: ['true']}]\n"}).path
    done = dogfood(path, "check")
    assert (done.returncode, done.stdout.splitlines()[-1].partition(":")[0]) == (5, "dogfood")
    assert "dogfood: nothing to check (1 warning): there is no journey file here" in done.stdout
    assert dogfood(path, "check", "--strict").returncode == 4


def test_a_check_that_selects_no_journey_is_one_of_nothing(inner: Make) -> None:
    done = inner({"a.journey.yaml": "steps: ['true']\n"}).dogfood("--dogfood-check", "-k", "typo")
    assert done.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    done.stdout.fnmatch_lines(["dogfood: nothing to check (no findings): no journey is selected"])


def test_a_path_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    done = dogfood(tmp_path, "check", "nowhere")
    assert (done.returncode, done.stdout) == (4, "")
    assert "file or directory not found: nowhere" in done.stderr


def test_a_shard_is_planned_alone_and_python_tests_count_in_the_partition(inner: Make) -> None:
    scene = inner({**SOUND_BUT_ODD, "test_broken.py": ""})
    shards = [
        json.loads(dogfood(scene.path, "check", f"--shard={n}/2", "--format=json").stdout) for n in (1, 2)
    ]
    planned = [[one["id"] for one in shard["plan"]["journeys"]] for shard in shards]
    assert sorted(planned) == [[], ["open-shop", "buy"]]
    assert [shard["plan"]["shard"] for shard in shards] == ["1/2", "2/2"]


@pytest.mark.parametrize("estimate, said", [("", True), ("estimate: 2, ", False)])
def test_a_guess_is_called_one(inner: Make, estimate: str, said: bool) -> None:  # noqa: FBT001 - a table row
    scene = inner({"a.journey.yaml": f"{{{estimate}steps: ['true']}}"})
    printed = dogfood(scene.path, "check").stdout
    assert ("no durations are known yet: each journey counts as 1 s" in printed) is said


REQUIRED_BY_A_TEST = {
    "dogfood.yaml": "capabilities: {made: {probe: 'true'}}",
    "a.journey.yaml": "{establishes: [made], steps: ['true']}",
    "test_a.py": "import pytest\n@pytest.mark.requires('made')\ndef test_a(): pass",
}


def test_a_token_is_not_called_idle_where_nobody_has_asked_the_tests(inner: Make) -> None:
    assert "nobody-requires" not in dogfood(inner(REQUIRED_BY_A_TEST).path, "check").stdout


@pytest.mark.parametrize("test, said", [(REQUIRED_BY_A_TEST["test_a.py"], False), ("", True)])
def test_a_token_is_called_idle_if_no_test_requires_it_either(inner: Make, test: str, said: bool) -> None:  # noqa: FBT001 - a table row
    result = inner({**REQUIRED_BY_A_TEST, "test_a.py": test}).dogfood("--dogfood-check")
    assert ("nobody-requires" in result.stdout.str()) is said


MISSPELT_DEFINITION = {
    "dogfood.yaml": "capabilities: {loged-in: {probe: test -f session}}",
    "a.journey.yaml": "journeys: [{id: a, establishes: [logged-in], steps: [ls]},"
    " {id: b, requires: [logged-in], steps: [ls]}]",
}


@pytest.mark.parametrize("test, said", [("", True), ("requires('loged-in')", False)])
def test_a_misspelt_definition_is_told_unless_a_python_file_mentions_it(
    inner: Make,
    test: str,
    said: bool,  # noqa: FBT001 - a table row
) -> None:
    printed = dogfood(inner({**MISSPELT_DEFINITION, "test_a.py": test}).path, "check").stdout
    hint = "nothing requires 'loged-in' [nobody-requires]\n    hint: did you mean 'logged-in'?"
    assert (hint in printed) is said


SLIP = {
    "dogfood.yaml": "capabilities: {logged-in: {probe: test -f session}}\n",
    "buy.journey.yaml": "requires: [logged-in]\nsteps: ['true']\n",
}
SLIP_IN_PYTHON = {
    **SLIP,
    "test_a.py": "import pytest\n@pytest.mark.establishes('loged-in')\ndef test_a(): pass\n",
}


def test_a_slip_under_establishes_is_a_warning_where_it_stands(inner: Make) -> None:
    path = inner({**SLIP, "a.journey.yaml": "establishes: [loged-in]\nsteps: ['true']\n"}).path
    assert found_by(dogfood(path, "check", "--format", "json")) == [
        "info no-probe a.journey.yaml:1:15",
        "warning unknown-token a.journey.yaml:1:15",
    ]
    assert dogfood(path, "check", "--strict").returncode == 4


def test_a_slip_in_a_mark_is_a_warning_once_python_tests_are_looked_at(inner: Make) -> None:
    project = inner(SLIP_IN_PYTHON)
    project.dogfood("--dogfood-check").stdout.fnmatch_lines(
        [
            "warning: test_a.py:2: 'test_a.py::test_a' establishes 'loged-in', which nothing requires *unknown-token*"
        ]
    )
    assert found_by(dogfood(project.path, "check", "--format", "json")) == []


def test_what_nothing_establishes_is_told_by_what_was_looked_at(inner: Make) -> None:
    project = inner(SLIP)
    by_files = (
        "provision: logged-in, by no journey file: unless it is present, a Python test or fixture has to"
    )
    assert by_files in dogfood(project.path, "check").stdout
    project.dogfood("--dogfood-check").stdout.fnmatch_lines(
        [
            "provision: logged-in, by nothing: it has to be present already, because no journey, test or fixture est*"
        ]
    )


@pytest.mark.parametrize(
    "first, others, told",
    [
        ("establishes('up')", "requires('up')", "warning: *making 'up' machine-scoped would give*"),
        (
            "dependency()",
            "dependency(depends=['test_up'])",
            "info: *without the marks that depend on 'test_a.py::t*",
        ),
    ],
)
def test_a_chain_of_python_tests_that_takes_all_the_time_is_told_too(
    inner: Make, first: str, others: str, told: str
) -> None:
    tests = f"""
        import pytest

        @pytest.mark.{first}
        def test_up(): pass

        @pytest.mark.{others}
        @pytest.mark.parametrize("n", range(12))
        def test_use(n): pass
    """
    files = {"test_a.py": tests, "pytest.ini": "[pytest]\ndogfood_dependency_markers = true\n"}
    inner(files).dogfood("--dogfood-check").stdout.fnmatch_lines([told])
