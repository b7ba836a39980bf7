"""Which of the options that were typed a command needs to do the same again."""

from __future__ import annotations

import shlex

import pytest

from pytest_dogfood.session.composition import options_that_matter


@pytest.mark.parametrize(
    "typed, again",
    [
        ("", ""),
        ("--dogfood -n 4 -rA -x --junitxml=out.xml tests/a.journey.yaml", ""),
        ("-c ci.ini tests", "-c ci.ini"),
        ("--config-file=ci.ini", "-c ci.ini"),
        ("--rootdir .. --confcutdir=sub", "--rootdir .. --confcutdir sub"),
        ("--noconftest --import-mode=importlib", "--import-mode importlib --noconftest"),
        (
            "-o dogfood_timeout=3 --override-ini=dogfood_files=*.e2e",
            "-o dogfood_timeout=3 -o 'dogfood_files=*.e2e'",
        ),
        ("-o dogfood_state_root=/tmp/x -o cache_dir=/tmp/y", ""),
        ("-p shop.plugin -pno:shop", "-p shop.plugin -p no:shop"),
        ("-p no:cacheprovider -p no:randomly", ""),
        ("-p randomly", "-p randomly"),
        ("-xvp shop", "-p shop"),
        ("--dogfood-provision never", "--dogfood-provision never"),
        ("-k 'p and c' -m=-c --env=-p", ""),
        ("-p", ""),
    ],
)
def test_what_changes_a_result_is_carried(typed: str, again: str) -> None:
    assert options_that_matter(shlex.split(typed)) == tuple(shlex.split(again))


def test_a_selection_of_the_project_is_undone() -> None:
    assert options_that_matter([], ["-m", "not slow", "-k", "shop"]) == ("-m", "", "-k", "")
