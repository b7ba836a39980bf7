"""`--dogfood-consistency`: the checks as pytest items, the same ones in one process and in several, writing nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pytest_dogfood.consistency.hub.model import HubTask, Machine, Source, Stamp
from pytest_dogfood.consistency.hub.store import Hub
from tests.consistency.runs_in_checkout import Shop
from tests.support.checkouts import PLAN, Farm, isolated
from tests.support.run_results import Run

MACHINE = Machine(id="11111111-1111-4111-8111-111111111111", host="here")
BLOCKS = {"T1": "todo", "T2": "done", "T3": "todo", "T4": "in_progress"}
HUB = {"T1": "todo", "T2": "todo", "T3": "done", "T5": "done"}
TEST = """
import sys

def test_that_has_nothing_to_do_with_it():
    pass

def test_that_no_worker_imports_a_database():
    assert "sqlalchemy" not in sys.modules
"""


def plan(blocks: Mapping[str, str]) -> str:
    tasks = "".join(
        f"\n## {name}\n\n```task\nid: {name}\nstatus: {status}\n```\n" for name, status in blocks.items()
    )
    return f"---\ntype: workplan\n---\n{tasks}\n- ```task\n  id: T9\n  status: todo\n  ```\n"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    root = tmp_path_factory.mktemp("shop")
    environment = {
        name: value
        for name, value in isolated(root / "home").items()
        if not name.startswith(("DOGFOOD_", "_DOGFOOD_", "PYTEST_", "COV_"))
    }
    data = root / "data"
    data.mkdir()
    (data / "machine-id").write_text(f"{MACHINE.id}\n")
    environment |= {
        "DOGFOOD_DATA_DIR": str(data),
        "DOGFOOD_HUB": str(root / "hub.sqlite"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "200",
    }
    farm = Farm(root=root, environment=environment)
    farm.origin()
    here = farm.clone()
    here.write("[pytest]\n", "pytest.ini")
    here.write(TEST, "test_it.py")
    here.write("{journeys: [{id: a, steps: [run: 'true']}]}\n", "a.journey.yaml")
    here.write(plan(BLOCKS))
    here.write(plan({}), "workplans/SHOP-WP-2.md")
    here.write(b"---\ntype: workplan\n---\n\xff\n", "workplans/SHOP-WP-3.md")
    here.git("add", "--all")
    here.git("commit", "--quiet", "--message=plans")
    hub, _ = Hub.create(f"sqlite:///{root}/hub.sqlite")
    with hub:
        hub.register(here.path, slug="shop", root_commit="", machine=MACHINE)
        stamp = Stamp(machine=MACHINE, actor="tester", source=Source.CREATE)
        for name, status in HUB.items():
            hub.create_task(HubTask(id="", repo="shop", task_id=name, title=name, status=status), stamp=stamp)
    return Shop(checkout=here, hub=root / "hub.sqlite", environment=environment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A run, and what was there before and after it."""

    run: Run
    before: tuple[object, ...]
    after: tuple[object, ...]
    fetches: int


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def seen(request: pytest.FixtureRequest, shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    trace = tmp_path_factory.mktemp("trace") / "git"
    before = shop.state()
    run = shop.pytest("--dogfood-consistency", request.param, "-v", "-rP", GIT_TRACE=str(trace))
    fetches = len(re.findall(r"trace: built-in: git fetch\b", trace.read_text()))
    return Seen(run=run, before=before, after=shop.state(), fetches=fetches)


def test_each_task_repository_and_file_is_one_item_with_the_same_id_whatever_the_number_of_workers(
    seen: Seen,
) -> None:
    assert sorted(seen.run.cases) == [
        "T1",
        "T2",
        "T3",
        "T4",
        "T5",
        "repository",
        "test_that_has_nothing_to_do_with_it",
        "test_that_no_worker_imports_a_database",
        "workplans/SHOP-WP-2.md",
        "workplans/SHOP-WP-3.md",
        PLAN,
    ]
    assert set(re.findall(r"consistency::shop::([^:\s]+)(?= |$)", seen.run.text, re.MULTILINE)) == {
        name for name in seen.run.cases if not name.startswith("test_")
    }


@pytest.mark.parametrize(
    "name,kind",
    [
        ("T1", "passed"),
        ("T2", "failure"),
        ("T3", "passed"),
        ("T4", "failure"),
        ("T5", "passed"),
        ("repository", "passed"),
        (PLAN, "passed"),
        ("workplans/SHOP-WP-3.md", "failure"),
    ],
)
def test_only_fail_fails(seen: Seen, name: str, kind: str) -> None:
    assert seen.run.cases[name].kind == kind
    assert seen.run.status == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    "line",
    [
        f"C-11 file-ahead FAIL {PLAN}:14: file is ahead of DB task 'T2' (db=todo, file=done)",
        "    hint: dogfood consistency fix --repo shop",
        f"C-20 not-in-hub FAIL {PLAN}:28: task 'T4' is not in the hub",
    ],
)
def test_a_failure_says_what_is_so_and_what_to_do(seen: Seen, line: str) -> None:
    assert line in seen.run.text.splitlines()


def test_a_warning_is_a_warning_of_a_type_of_its_own(seen: Seen) -> None:
    said = (
        "DogfoodConsistencyWarning: C-13 hub-ahead WARN "
        + PLAN
        + ":21: DB task 'T3' is ahead of file (db=done, file=todo)"
    )
    assert f"{said} — skipped to prevent regression" in seen.run.text


def test_what_does_not_fail_is_in_junit_too(seen: Seen) -> None:
    assert seen.run.cases["T3"].properties["C-13"].startswith("WARN DB task 'T3' is ahead of file")
    assert seen.run.cases["T5"].properties["C-21"].startswith("INFO DB task 'T5'")


def test_information_is_in_a_section_of_the_report(seen: Seen) -> None:
    assert re.search(
        r"^-+ Captured consistency call -+\nC-21 no-block INFO DB task 'T5' ", seen.run.text, re.MULTILINE
    )


def test_nothing_is_written_and_each_repository_is_fetched_once(seen: Seen) -> None:
    assert seen.after == seen.before
    assert seen.fetches == 1


def test_no_process_but_the_first_asks_the_hub(shop: Shop) -> None:
    run = shop.pytest(
        "--dogfood-consistency-offline",
        "-n1",
        "consistency::shop::T1",
        "test_it.py::test_that_no_worker_imports_a_database",
    )
    assert {name: case.kind for name, case in run.cases.items()} == {
        "T1": "passed",
        "test_that_no_worker_imports_a_database": "passed",
    }


def test_offline_does_not_fetch(shop: Shop, tmp_path: Path) -> None:
    trace = tmp_path / "git"
    shop.pytest("--dogfood-consistency-offline", "-k", "T1", GIT_TRACE=str(trace))
    assert "trace: built-in: git rev-parse" in trace.read_text()
    assert "git fetch" not in trace.read_text()


def test_strict_lets_a_warning_fail(shop: Shop) -> None:
    run = shop.pytest("--dogfood-consistency-strict", "--dogfood-consistency-offline", "-k", "T1 or T3 or T5")
    assert {name: case.kind for name, case in run.cases.items()} == {
        "T1": "passed",
        "T3": "failure",
        "T5": "passed",
    }


def test_a_filter_may_turn_the_warning_into_a_failure(shop: Shop) -> None:
    filters = ["-W", "error::pytest_dogfood.DogfoodConsistencyWarning"]
    run = shop.pytest("--dogfood-consistency-offline", *filters, "-k", "T1 or T3")
    assert (run.cases["T1"].kind, run.cases["T3"].kind) == ("passed", "failure")
    assert "Traceback" not in run.text
    assert "consistency_items.py" not in run.text


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_beside_journeys_they_are_no_journeys(shop: Shop, short_root: Path, workers: str) -> None:
    run = shop.pytest(
        "--dogfood",
        "--dogfood-consistency-offline",
        workers,
        "-k",
        "T1 or T2 or a.journey",
        "-o",
        f"dogfood_state_root={short_root}",
    )
    assert run.closing_line == "dogfood: 1 journey = 1 passed; 0 tokens"
    assert {name: case.kind for name, case in run.cases.items()} == {
        "a": "passed",
        "T1": "passed",
        "T2": "failure",
    }


def test_a_hub_that_does_not_answer_is_one_error(shop: Shop) -> None:
    run = shop.pytest(
        "--dogfood-consistency",
        "-n0",
        "-k",
        "hub or nothing",
        DOGFOOD_HUB="postgresql://nobody@127.0.0.1:1/hub?connect_timeout=2",
    )
    assert run.cases["hub"].kind == "error"
    assert {case.kind for name, case in run.cases.items() if name != "hub"} == {"passed"}
    assert run.status == pytest.ExitCode.TESTS_FAILED
    assert "127.0.0.1" in run.text
    assert "Traceback" not in run.text
    assert "runner.py" not in run.text


def test_an_id_that_there_is_not_is_refused(shop: Shop) -> None:
    run = shop.pytest("--dogfood-consistency-offline", "consistency::shop::T1", "consistency::shop::T77")
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert "not found: consistency::shop::T77" in run.text


def without(shop: Shop, *names: str, **variables: str) -> Shop:
    kept = {name: value for name, value in shop.environment.items() if name not in names}
    return replace(shop, environment={**kept, **variables})


def test_a_run_without_a_hub_is_refused_with_the_way_out(shop: Shop) -> None:
    run = without(shop, "DOGFOOD_HUB").pytest("--dogfood-consistency", "-n0")
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert "dogfood_hub = " in run.text
    assert "Traceback" not in run.text


def test_an_installation_without_the_extra_is_told_what_is_missing(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "sqlalchemy.py").write_text('raise ModuleNotFoundError("not here", name="sqlalchemy")\n')
    run = shop.pytest("--dogfood-consistency", PYTHONPATH=str(tmp_path))
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert "pip install 'pytest-dogfood[hub]'" in run.text


def test_the_hub_may_be_named_in_the_settings(shop: Shop) -> None:
    run = without(shop, "DOGFOOD_HUB").pytest(
        "--dogfood-consistency-offline", "-o", "dogfood_hub=../hub.sqlite", "-k", "T1"
    )
    assert run.cases["T1"].kind == "passed"


def test_a_machine_without_checkouts_is_told_to_register_one(shop: Shop, tmp_path: Path) -> None:
    run = without(shop, DOGFOOD_DATA_DIR=str(tmp_path)).pytest("--dogfood-consistency")
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert "dogfood hub register PATH" in run.text


def test_without_the_option_there_are_no_such_items(shop: Shop) -> None:
    run = shop.pytest()
    assert list(run.cases) == [
        "test_that_has_nothing_to_do_with_it",
        "test_that_no_worker_imports_a_database",
    ]
