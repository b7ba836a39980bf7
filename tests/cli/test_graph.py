"""What `dogfood graph` shows: locks, one token or matrix, short durations, and that Python tests were left out."""

from __future__ import annotations

import json

import pytest

from pytest_dogfood.session.durations import write_durations
from tests.behaviour.test_off import Make
from tests.cli.test_explain import POOLS
from tests.support.command_line import dogfood
from tests.support.scenes import Inner

TESTS = """
    import pytest

    @pytest.mark.requires("made:v0")
    @pytest.mark.invalidates("printed")
    def test_shred(): pass
"""


@pytest.fixture(scope="module")
def pools(inner: Make) -> Inner:
    scene = inner({**POOLS, "test_shred.py": TESTS})
    write_durations(scene.path / "dogfood-durations.json", {"shop.journey.yaml::use": 0.00465})
    return scene


def test_locks_and_pools_are_shown_with_what_takes_them(pools: Inner) -> None:
    lines = dogfood(pools.path, "graph").stdout.splitlines()
    assert lines[lines.index("locks") :] == [
        "locks",
        "  account  [pool of 2: shop-1, shop-2]",
        "      taken by use",
        "  gpu  [pool of 4]",
        "      taken by make[v0], make[v1]",
        "  printer  [one holder at a time]",
        "      taken by provision:printed",
    ]
    assert "  make[v1]  [lock 2 of gpu]" in lines
    assert "  provision:printed  [provision · lock printer]" in lines


@pytest.mark.parametrize("notation", ["svg", "mermaid", "dot"])
def test_locks_are_in_every_drawing(pools: Inner, notation: str) -> None:
    assert "lock 2 of gpu" in dogfood(pools.path, "graph", "--format", notation).stdout


def test_locks_are_in_the_json(pools: Inner) -> None:
    drawn = json.loads(dogfood(pools.path, "graph", "--format", "json").stdout)
    assert drawn["locks"][0] == {"name": "account", "units": ["shop-1", "shop-2"]}
    assert {one["key"]: one["locks"] for one in drawn["journeys"]} == {
        "make[v0]": {"gpu": 2},
        "make[v1]": {"gpu": 2},
        "use": {"account": 1},
    }


@pytest.mark.parametrize(
    "name, journeys, providers, locks",
    [
        ("make", ["make[v0]", "make[v1]", "use", "test_shred.py::test_shred"], [], ["account", "gpu"]),
        ("made", ["make[v0]", "make[v1]", "use", "test_shred.py::test_shred"], [], ["account", "gpu"]),
        ("made:v1", ["make[v1]", "use"], [], ["account", "gpu"]),
        ("printed", ["use", "test_shred.py::test_shred"], ["printed"], ["account", "printer"]),
        ("test_shred.py", ["make[v0]", "test_shred.py::test_shred"], [], ["gpu"]),
    ],
)
def test_a_focus_takes_tokens_and_what_several_journeys_are_called(
    pools: Inner, name: str, journeys: list[str], providers: list[str], locks: list[str]
) -> None:
    drawn = json.loads(dogfood(pools.path, "graph", "--tests", "--focus", name, "--format", "json").stdout)
    assert [one["key"] for one in drawn["journeys"]] == journeys
    assert [one["token"] for one in drawn["providers"]] == providers
    assert [one["name"] for one in drawn["locks"]] == locks


def test_a_focus_on_a_token_says_so(pools: Inner) -> None:
    assert dogfood(pools.path, "graph", "--focus", "printed").stdout.startswith(
        "What gives printed, and what needs it\n"
    )


def test_short_durations_are_not_told_to_the_last_digit(pools: Inner) -> None:
    assert (
        "  use  [under 0.1 s · lock account, critical path]"
        in dogfood(pools.path, "graph").stdout.splitlines()
    )


LEFT_OUT = "dogfood graph: without Python tests; --tests draws them too\n"


@pytest.mark.parametrize(
    "arguments, told",
    [
        ((), LEFT_OUT),
        (("--tests",), ""),
        (("test_shred.py",), ""),
        (("shop.journey.yaml",), ""),
        (
            ("--focus", "test_shred.py::test_shred"),
            f"{LEFT_OUT}dogfood graph: no journey or token is called 'test_shred.py::test_shred'\n",
        ),
    ],
)
def test_python_tests_that_were_left_out_are_told_once(
    pools: Inner, arguments: tuple[str, ...], told: str
) -> None:
    assert dogfood(pools.path, "graph", *arguments).stderr == told


def test_a_check_says_that_it_has_left_python_tests_out(pools: Inner) -> None:
    told = "dogfood check: Python tests were not checked; pytest --dogfood-check does that\n"
    assert dogfood(pools.path, "check").stderr == told


def test_where_no_python_test_is_marked_nothing_is_said_of_any(inner: Make) -> None:
    scene = inner({**POOLS, "test_plain.py": "def test_requires(): pass"})
    assert dogfood(scene.path, "graph").stderr == dogfood(scene.path, "check").stderr == ""
