"""Tokens that Python tests establish, or fixtures provide, and that no file defines."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from tests.support.command_line import dogfood
from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], Inner]

SHOP = {
    "test_buy.py": """
        import pytest

        @pytest.mark.requires("account", "price-list")
        def test_buy(dogfood_state, capabilities):
            assert (dogfood_state / "account").read_text() == "ada"
            assert capabilities["price-list"]["tea"] == "3"

        @pytest.mark.requires("basket:*")
        def test_baskets():
            pass
    """,
    "test_sign_up.py": """
        import pytest

        @pytest.mark.establishes("account")
        def test_sign_up(dogfood_state):
            (dogfood_state / "account").write_text("ada")

        @pytest.mark.parametrize("name", [pytest.param(1, marks=pytest.mark.establishes("basket:one"))])
        def test_fill_a_basket(name):
            pass
    """,
    "conftest.py": """
        import pytest
        import pytest_dogfood

        @pytest_dogfood.provides("price-list")
        @pytest.fixture(scope="session")
        def prices():
            return {"tea": "3"}
    """,
}


@pytest.fixture(scope="module")
def shop(inner: Make) -> Inner:
    return inner(SHOP)


@pytest.mark.parametrize(
    "arguments, passed",
    [
        ((), 4),
        (("-n2",), 4),
        (("-k", "test_baskets"), 2),
        (("test_buy.py",), 4),
        (("test_buy.py", "-n2"), 4),
        (("test_buy.py::test_buy",), 2),
        (("--strict-markers", "-m", "requires"), 4),
    ],
    ids=["whole", "workers", "keyword", "file", "file on workers", "node id", "strict"],
)
def test_a_suite_of_python_tests_needs_no_file_of_ours(
    shop: Inner, arguments: tuple[str, ...], passed: int
) -> None:
    ran = shop.dogfood(*arguments)
    ran.stdout.fnmatch_lines([f"dogfood: {passed} tests = {passed} passed*"])
    assert ran.ret == 0


def test_shards_divide_it_and_lose_nothing(shop: Inner) -> None:
    ran = [shop.dogfood(f"--dogfood-shard={number}/2") for number in (1, 2)]
    assert [one.ret for one in ran] == [0, 0]
    assert sum(one.parseoutcomes().get("passed", 0) for one in ran) == 4


def test_a_journey_in_a_file_may_require_what_a_test_establishes(inner: Make) -> None:
    project = inner(
        {**SHOP, "greet.journey.yaml": "requires: [account]\nsteps: [grep ada $DOGFOOD_STATE/account]\n"}
    )
    for arguments in ((), ("greet.journey.yaml",), ("greet.journey.yaml", "-n1")):
        assert project.dogfood(*arguments).ret == 0
    assert dogfood(project.path, "check").returncode == 0
    assert dogfood(project.path, "check", "greet.journey.yaml").returncode == 0


MISSPELT = {
    **SHOP,
    "test_more.py": """
        import pytest

        @pytest.mark.requires("acount")
        def test_typed_in_haste():
            pass

        @pytest.mark.requires("pricelist")
        def test_without_a_dash():
            pass
    """,
}


@pytest.mark.parametrize(
    "arguments",
    [(), ("-n2",), ("-k", "test_buy"), ("test_more.py",), ("--dogfood-shard=1/2",), ("--dogfood-check",)],
)
def test_a_misspelt_token_of_a_test_is_an_error_with_the_nearest_known_one(
    inner: Make, arguments: tuple[str, ...]
) -> None:
    ran = inner(MISSPELT).dogfood(*arguments)
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    said = "\n".join([*ran.outlines, *ran.errlines])
    names = "which nothing establishes, provides or defines [unknown-token]"
    assert f"test_more.py:4: test 'test_more.py::test_typed_in_haste' names 'acount', {names}" in said
    assert "    hint: did you mean 'account'?" in said
    assert "    hint: did you mean 'price-list'?" in said


NINE = "import pytest\n" + "".join(
    f"@pytest.mark.requires('{token}')\ndef test_{token}(): pass\n"
    for token in ("moon", "sun", "wind", "rain", "fog", "hail", "dew", "ice", "tide")
)


def test_nine_tokens_that_nothing_gives_come_with_one_hint_to_paste(inner: Make) -> None:
    project = inner({"test_a.py": NINE})
    ran = project.dogfood()
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    said = ran.stderr.str()
    assert (said.count("[unknown-token]"), said.count("hint: ")) == (9, 1)
    lines = said.partition("or define it in dogfood.yaml:\n")[2]
    (project.path / "dogfood.yaml").write_text(
        lines.replace("        ", "", 1).replace("\n        ", "\n").replace("COMMAND", "'true'")
    )
    assert project.dogfood().ret == 0


def test_a_token_is_not_unknown_because_its_file_is_left_out(shop: Inner) -> None:
    ran = shop.dogfood("test_buy.py::test_buy", "--ignore=test_sign_up.py")
    assert "[unknown-token]" not in ran.stderr.str()
    ran.stdout.fnmatch_lines(["harness: 'account' is not present, and no journey, test or fixture *"])


def test_what_is_blocked_may_be_what_only_a_test_establishes(shop: Inner) -> None:
    ran = shop.dogfood("--dogfood-blocked=account")
    ran.assert_outcomes(passed=3, skipped=1)
    typo = shop.dogfood("--dogfood-blocked=acount")
    assert typo.ret == pytest.ExitCode.USAGE_ERROR
    typo.stderr.fnmatch_lines(
        ["*'acount': nothing establishes, provides or defines it; did you mean 'account'[?]"]
    )
