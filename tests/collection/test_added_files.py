"""Files that were not named are collected where their items establish what the named ones need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], "Inner"]
Told = dict[str, str]

NOTE = "from pathlib import Path\nPath(__file__ + '.imported').touch()\n"
PROJECT = {
    "pytest.ini": "[pytest]\naddopts = --import-mode=importlib\n",
    "dogfood.yaml": """
        capabilities:
          account: {}
          basket: {}
          order: {}
          invoice: {}
          parcel: {}
          printed: {provision: ["true"]}
          computed: {}
    """,
    "accounts/conftest.py": """
        import pytest

        @pytest.fixture
        def name():
            return "ada"
    """,
    "accounts/test_account.py": NOTE
    + """
import pytest

@pytest.mark.establishes("account")
def test_account(name, dogfood_state):
    (dogfood_state / "account").write_text(name)

def test_of_no_use():
    pass
""",
    "basket.journey.yaml": """
        journeys:
          - {id: basket, requires: [account], establishes: [basket], steps: ['test -f "$DOGFOOD_STATE/account"']}
    """,
    "orders/test_order.py": NOTE
    + """
import pytest

ORDER = "order"

class TestOrder:
    @pytest.mark.requires("basket")
    @pytest.mark.establishes(ORDER)
    def test_order(self):
        pass
""",
    "test_invoice.py": """
        import pytest

        @pytest.mark.requires("order")
        def test_invoice(dogfood_state):
            assert (dogfood_state / "account").read_text() == "ada"

        class TestPrinting:
            @pytest.mark.establishes("invoice")
            def test_print(self):
                pass

        class TestPosting:
            @pytest.mark.requires("invoice")
            def test_post(self):
                pass

        def test_plain():
            pass
    """,
    "test_parcel.py": NOTE
    + """
import pytest

@pytest.mark.establishes("parcel", "printed")
def test_parcel():
    pass
""",
    "send.journey.yaml": "journeys: [{id: send, requires: [order, printed], steps: ['true']}]",
    "test_wants.py": """
        import pytest

        @pytest.mark.requires("computed")
        def test_wants(): pass
    """,
    "late/test_computed.py": """
        import pytest

        NAME = "comp" + "uted"

        @pytest.mark.establishes(NAME)
        def test_computed(): pass
    """,
}


def told(result: pytest.RunResult) -> Told:
    """Return the last part of each node id in the short summary with the word said of it."""
    words = ("PASSED", "FAILED", "ERROR")
    found = (line.split(" ", 1) for line in result.outlines if line.startswith(words) and "::" in line)
    return {rest.partition(" - ")[0].rpartition("::")[2]: word for word, rest in found}


@pytest.fixture(scope="module")
def project(inner: Make) -> Inner:
    return inner(PROJECT)


@pytest.mark.parametrize(
    "workers, named, passed",
    [
        ("-n2", ["test_invoice.py::test_invoice"], ["test_account", "test_order", "test_invoice"]),
        ("-n0", ["send.journey.yaml"], ["test_account", "test_order", "send"]),
        (
            "-n0",
            ["send.journey.yaml::send", "test_invoice.py::test_plain"],
            ["test_account", "test_order", "send", "test_plain"],
        ),
        ("-n0", ["test_invoice.py::TestPosting::test_post"], ["test_print", "test_post"]),
        ("-n0", ["test_invoice.py", "-k", "plain or account"], ["test_plain"]),
        ("-n2", ["test_wants.py"], ["test_computed", "test_wants"]),
    ],
)
def test_what_the_named_ones_need_is_run_and_nothing_else(
    project: Inner, workers: str, named: list[str], passed: list[str]
) -> None:
    result = project.dogfood(workers, "-rA", *named)
    assert told(result) == dict.fromkeys(passed, "PASSED"), result.stdout.str()
    assert result.ret == 0


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_only_files_that_are_needed_are_imported(inner: Make, workers: str) -> None:
    scene = inner(PROJECT)
    scene.dogfood(workers, "send.journey.yaml", "test_invoice.py").assert_outcomes(passed=7)
    assert (scene.path / "accounts" / "test_account.py.imported").exists()
    assert not (scene.path / "test_parcel.py.imported").exists()


def test_nothing_is_added_where_nothing_is_required(inner: Make) -> None:
    scene = inner(PROJECT)
    scene.dogfood("test_parcel.py").assert_outcomes(passed=1, deselected=0)
    assert not (scene.path / "accounts" / "test_account.py.imported").exists()


def test_what_is_not_needed_of_added_files_counts_as_deselected(project: Inner) -> None:
    # test_of_no_use, and test_computed, whose token only an import shows.
    project.dogfood("send.journey.yaml").assert_outcomes(passed=3, deselected=2)


def test_a_check_plans_what_would_be_run(project: Inner) -> None:
    result = project.dogfood("--dogfood-check", "send.journey.yaml")
    result.stdout.fnmatch_lines(["*test_account*", "*test_order*", "*send*"])


def test_a_run_from_a_directory_below_finds_what_is_beside_it(project: Inner) -> None:
    result = project.dogfood("--rootdir=.", "-rA", "orders")
    assert told(result) == dict.fromkeys(["test_account", "test_order"], "PASSED")


def test_a_journey_that_uses_fixtures_runs_as_an_item_of_its_own(inner: Make) -> None:
    scene = inner(
        {
            "shop/conftest.py": "import pytest\n@pytest.fixture\ndef shop(): pass\n",
            "shop/open.journey.yaml": "{id: opens, use: [shop], establishes: [open], steps: ['true']}",
            "buy.journey.yaml": "{id: buys, requires: [open], steps: ['true']}",
        }
    )
    assert told(scene.dogfood("-n0", "-rA", "buy.journey.yaml")) == {"opens": "PASSED", "buys": "PASSED"}


BROKEN = {
    "import": ("import no_such_module\n", "", "*No module named 'no_such_module'*"),
    "syntax": ("def test_broken(:\n", "", "*SyntaxError*"),
    "exit": ("raise SystemExit(3)\n", "", "*SystemExit(3)*"),
    "skip": ("pytest.skip('not today', allow_module_level=True)\n", "", "*not today*"),
    "conftest": ("", "import no_such_module\n", "*No module named 'no_such_module'*"),
}


@pytest.mark.parametrize(
    "fault, workers", [*((fault, "-n0") for fault in BROKEN), ("exit", "-n2"), ("conftest", "-n2")]
)
def test_a_fault_of_an_added_file_is_an_error_of_what_needs_it(inner: Make, fault: str, workers: str) -> None:
    line, conftest, text = BROKEN[fault]
    scene = inner(
        {
            "dogfood.yaml": "capabilities: {made: {}}",
            "test_named.py": """
                import pytest

                @pytest.mark.requires("made")
                def test_needs(): pass

                def test_plain(): pass
            """,
            "far/away/conftest.py": conftest,
            "far/away/test_makes.py": "import pytest\n"
            + line
            + "@pytest.mark.establishes('made')\ndef test_makes(): pass\n",
        }
    )
    result = scene.dogfood(workers, "-rA", "test_named.py")
    assert told(result) == {"test_needs": "ERROR", "test_plain": "PASSED"}
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*'made' is not present: far/away/test_makes.py, which establishes it*", text]
    )


def test_a_named_file_that_cannot_be_imported_ends_the_run_as_ever(project: Inner) -> None:
    project.write({"named/test_broken.py": "import no_such_module\n"})
    result = project.dogfood("named/test_broken.py", "send.journey.yaml")
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_a_file_that_a_conftest_file_ignores_is_not_added(inner: Make) -> None:
    scene = inner(
        {
            "dogfood.yaml": "capabilities: {made: {}}",
            "test_named.py": "import pytest\n@pytest.mark.requires('made')\ndef test_needs(): pass\n",
            "far/conftest.py": "collect_ignore = ['test_makes.py']\n",
            "far/test_makes.py": "import pytest\n@pytest.mark.establishes('made')\ndef test_makes(): pass\n",
        }
    )
    result = scene.dogfood("-rA", "test_named.py")
    assert told(result) == {"test_needs": "ERROR"}
