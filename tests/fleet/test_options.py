from __future__ import annotations

import pytest

from pytest_dogfood.fleet.options import RunName, lease_seconds, run_name, url_of


@pytest.mark.parametrize(
    "environment, text",
    [
        ({"GITHUB_RUN_ID": "123", "GITHUB_RUN_ATTEMPT": "2"}, "123.2"),
        ({"CI_PIPELINE_ID": "77"}, "77"),
        ({"BUILDKITE_BUILD_ID": "01-ab"}, "01-ab"),
        ({"GITHUB_RUN_ID": "123", "CI_PIPELINE_ID": "77"}, "77"),
    ],
)
def test_ci_stands_for_the_pipeline(environment: dict[str, str], text: str) -> None:
    assert run_name("ci", environment) == RunName(text, by_ci=True)
    assert run_name("ci/py311", environment) == RunName(f"{text}/py311", by_ci=True)


@pytest.mark.parametrize("name", ["nightly-17", "a", "x" * 100, "team/nightly_1.2", "cicada"])
def test_a_name_of_your_own_is_taken_as_it_is(name: str) -> None:
    assert run_name(name, {"CI_PIPELINE_ID": "77"}) == RunName(name, by_ci=False)


@pytest.mark.parametrize("name", ["", "x" * 101, "a b", "ä", "a\n", "ci/", "ci/ä"])
def test_a_strange_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="--dogfood-fleet"):
        run_name(name, {"CI_PIPELINE_ID": "77"})


def test_without_a_known_ci_system_the_variables_are_named() -> None:
    with pytest.raises(ValueError, match=r"GITHUB_RUN_ID and GITHUB_RUN_ATTEMPT.*CI_PIPELINE_ID.*BUILDKITE"):
        run_name("ci", {"GITHUB_RUN_ID": "1", "GITHUB_RUN_ATTEMPT": ""})


@pytest.mark.parametrize(
    "given, seconds", [(None, 30.0), ("", 30.0), ("10", 10.0), ("600", 600.0), ("12.5", 12.5)]
)
def test_a_lease_is_a_number_of_seconds(given: str | None, seconds: float) -> None:
    assert lease_seconds(given) == seconds


@pytest.mark.parametrize("given", ["9.9", "601", "soon", "nan", "inf", "-30"])
def test_a_strange_lease_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="dogfood_fleet_lease is a number of seconds from 10 to 600"):
        lease_seconds(given)


def test_the_environment_comes_before_the_ini_file() -> None:
    assert url_of({"DOGFOOD_FLEET": "postgresql://a/x"}, "postgresql://b/y") == "postgresql://a/x"
    assert url_of({"DOGFOOD_FLEET": ""}, "postgresql://b/y") == "postgresql://b/y"


def test_without_a_database_it_says_how_to_name_one() -> None:
    with pytest.raises(ValueError, match="DOGFOOD_FLEET=postgresql://"):
        url_of({"DOGFOOD_FLEET": ""}, None)
