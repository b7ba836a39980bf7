"""What is read and what is not, what settings files say for their directory and below, and who notices what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], "Inner"]


def passed(result: pytest.RunResult) -> list[str]:
    return sorted(line.split()[1] for line in result.outlines if line.startswith("PASSED "))


@pytest.fixture(scope="module")
def nested(inner: Make) -> Inner:
    return inner(
        {
            "dogfood.yaml": """
                defaults: {env: {COLOR: red, SIZE: big}}
                capabilities:
                  shared: {provision: [run: touch "$DOGFOOD_STATE/shared"]}
            """,
            "sub/dogfood.yaml": """
                defaults: {env: {COLOR: blue}}
                capabilities:
                  nearer: {requires: [shared], provision: [run: touch "$DOGFOOD_STATE/nearer"]}
            """,
            "top.journey.yaml": """
                journeys:
                  - {id: top, requires: [shared], steps: [run: test "$COLOR-$SIZE" = red-big]}
            """,
            "sub/deep/below.journey.yaml": """
                defaults: {env: {SIZE: small}}
                journeys:
                  - id: below
                    requires: [shared, nearer]
                    steps:
                      - run: test "$COLOR-$SIZE" = blue-small
                      - {env: {COLOR: green}, run: test "$COLOR" = green}
                      - run: test -f "$DOGFOOD_STATE/nearer" -a -f "$DOGFOOD_STATE/shared"
            """,
            "test_it.py": """
                import pytest

                @pytest.mark.requires("shared")
                def test_it(dogfood_state):
                    assert (dogfood_state / "shared").exists()
            """,
        }
    )


def test_settings_count_for_their_directory_and_below(nested: Inner) -> None:
    result = nested.dogfood("-rA")
    assert passed(result) == [
        "sub/deep/below.journey.yaml::below",
        "test_it.py::test_it",
        "top.journey.yaml::top",
    ]


@pytest.mark.parametrize("named", ["sub/deep/below.journey.yaml", "test_it.py::test_it", "sub"])
def test_settings_above_what_is_named_count_too(nested: Inner, named: str) -> None:
    result = nested.dogfood("-rA", named)
    assert result.ret == 0, result.stderr.str()


def test_a_settings_file_holds_no_journeys(nested: Inner) -> None:
    result = nested.dogfood("dogfood.yaml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: not found: *dogfood.yaml"])


def test_a_run_started_below_knows_the_settings_above(nested: Inner) -> None:
    result = nested.dogfood("-rA", "--rootdir=.", "sub/deep")
    assert passed(result) == ["sub/deep/below.journey.yaml::below"]


def test_an_establishing_journey_is_found_in_files_that_are_not_named(inner: Make) -> None:
    scene = inner(
        {
            "pytest.ini": "[pytest]\ntestpaths = journeys\nnorecursedirs = attic\n",
            "journeys/a.journey.yaml": "{journeys: [{id: a, establishes: [here], steps: [run: 'true']}]}",
            "journeys/b.journey.yaml": "{journeys: [{id: b, requires: [here], steps: [run: 'true']}]}",
            "journeys/attic/c.journey.yaml": "{",
        }
    )
    result = scene.dogfood("-rA", "journeys/b.journey.yaml")
    assert passed(result) == ["journeys/b.journey.yaml::b"]
    result.stdout.fnmatch_lines(["provisioned here once by replaying a*"])


def test_a_token_of_a_python_file_that_a_run_ignores_is_no_mistake(inner: Make) -> None:
    scene = inner(
        {
            "dogfood.yaml": "capabilities: {by-python: {description: a test makes it}}",
            "test_it.py": """
                import pytest

                @pytest.mark.establishes("by-python")
                def test_it(): pass
            """,
            "a.journey.yaml": """
                journeys:
                  - {id: alone, steps: [run: 'true']}
                  - {id: asks, requires: [by-python], steps: [run: 'true']}
            """,
        }
    )
    result = scene.dogfood("-rA", "--ignore=test_it.py")
    assert passed(result) == ["a.journey.yaml::alone"]
    result.stdout.fnmatch_lines(["ERROR a.journey.yaml::asks - *'by-python' is not present*"])


def test_what_collect_ignore_names_is_not_read(inner: Make) -> None:
    scene = inner(
        {
            "conftest.py": 'collect_ignore = ["broken.journey.yaml"]\n',
            "broken.journey.yaml": "{",
            "a.journey.yaml": "{journeys: [{id: a, steps: [run: 'true']}]}",
        }
    )
    assert passed(scene.dogfood("-rA")) == ["a.journey.yaml::a"]


def test_a_python_file_on_the_command_line_is_no_journey_file(inner: Make) -> None:
    scene = inner({"test_it.py": "def test_it(): pass", "other.toml": "[x]"})
    assert passed(scene.dogfood("-rA", "test_it.py")) == ["test_it.py::test_it"]


def test_the_keys_of_one_journey_may_stand_at_the_top_of_its_file(inner: Make) -> None:
    scene = inner({"log-in.journey.yaml": "feature: accounts\ntier: smoke\nsteps: [run: 'true']\n"})
    assert passed(scene.dogfood("-rA")) == ["log-in.journey.yaml::log-in"]


def test_text_stays_text(inner: Make) -> None:
    scene = inner(
        {
            "a.journey.yaml": """
                journeys:
                  - id: a
                    env: {A: no, B: on, C: 1.20, D: 12:30, E: 0o17, F: null}
                    steps: [run: 'test "$A/$B/$C/$D/$E" = no/on/1.20/12:30/0o17']
            """.replace(", F: null", "")
        }
    )
    assert passed(scene.dogfood("-rA")) == ["a.journey.yaml::a"]


def test_items_run_in_dependency_order_whatever_the_order_of_the_files(inner: Make) -> None:
    scene = inner(
        {
            "a.journey.yaml": "{journeys: [{id: last, requires: [two], steps: [run: 'true']}]}",
            "b.journey.yaml": "{journeys: [{id: middle, requires: [one], establishes: [two], steps: [run: 'true']}]}",
            "c.journey.yaml": "{journeys: [{id: first, establishes: [one], steps: [run: 'true']}]}",
            "test_z.py": "def test_plain(): pass",
        }
    )
    result = scene.dogfood("-v")
    ran = [line.split(" ")[0].split("::")[1] for line in result.outlines if " PASSED " in line]
    assert ran == ["first", "middle", "last", "test_plain"]


SLIPS = {
    "test_slips.py": """
        import pytest

        @pytest.mark.requires(["a", "b"])
        def test_list():
            pass

        @pytest.mark.requires(token="a")
        def test_keyword():
            pass

        @pytest.mark.requires()
        def test_nothing():
            pass

        @pytest.mark.establishes
        class TestWithoutParentheses:
            def test_it(self):
                pass

        @pytest.mark.dogfood_establishes("Log in, Paid", {"x:Y"})
        @pytest.mark.parametrize("number", [1, 2])
        def test_spaces(number):
            pass
    """
}


def test_each_slip_in_a_mark_is_answered_with_what_to_write(inner: Make) -> None:
    ran = inner(SLIPS).dogfood()
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    hint = "    hint: write @pytest.mark."
    kind = ": a token is kebab-case text"
    takes = "takes tokens, one by one, and not"
    assert [
        line.removeprefix("test_slips.py:") for line in ran.errlines if line.startswith(("test", "    "))
    ] == [
        f"4: test_slips.py::test_list: the mark 'requires' {takes} ['a', 'b'] [bad-token]",
        f"{hint}requires('a', 'b'){kind}",
        f"8: test_slips.py::test_keyword: the mark 'requires' {takes} token='a' [bad-token]",
        f"{hint}requires('a'){kind}",
        "12: test_slips.py::test_nothing: the mark 'requires' names no token [bad-token]",
        f"{hint}requires('logged-in'){kind}",
        "18: test_slips.py::TestWithoutParentheses: the mark 'establishes' names no token [bad-token]",
        f"{hint}establishes('logged-in'){kind}",
        f"21: test_slips.py::test_spaces: the mark 'dogfood_establishes' {takes} 'Log in, Paid', {{'x:Y'}} [bad-token]",
        f"{hint}dogfood_establishes('log-in', 'paid', 'x:Y'){kind}",
    ]


MISSPELT = {
    "test_misspelt.py": """
        import pytest

        @pytest.mark.require("logged-in", "paid")
        def test_letter_missing():
            pass

        @pytest.mark.requires_("logged-in")
        def test_letter_too_many():
            pass

        @pytest.mark.establises("logged-in")
        class TestClass:
            @pytest.mark.dogfood_establish("logged-in:ada")
            def test_it(self):
                pass
    """
}
QUIET = "-Wignore::pytest.PytestUnknownMarkWarning"


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_a_misspelt_mark_is_answered_where_pytest_takes_any(inner: Make, workers: str) -> None:
    ran = inner(MISSPELT).dogfood(workers, QUIET)
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    hints = [line.partition("?")[0] for line in ran.errlines if line.startswith("    hint: ")]
    assert hints == [
        "    hint: did you mean @pytest.mark.requires('logged-in', 'paid')",
        "    hint: did you mean @pytest.mark.requires('logged-in')",
        "    hint: did you mean @pytest.mark.establishes('logged-in')",
        "    hint: did you mean @pytest.mark.dogfood_establishes('logged-in:ada')",
    ]
    assert "test_misspelt.py::test_letter_missing: nothing declares the mark 'require'" in ran.stderr.str()


FOREIGN = """
    import pytest

    @pytest.mark.require("logged-in")
    def test_declared():
        pass

    @pytest.mark.required
    @pytest.mark.requires_db("main")
    @pytest.mark.require_docker("main")
    @pytest.mark.estimates("long")
    @pytest.mark.required("For the Release")
    @pytest.mark.required(reason="x")
    def test_another_name_or_other_arguments():
        pass
"""


def test_a_mark_of_the_projects_own_is_left_alone(inner: Make) -> None:
    own = {"pytest.ini": "[pytest]\nmarkers = require(what): ours\n", "test_own.py": FOREIGN}
    inner(own).dogfood(QUIET).assert_outcomes(passed=2)


def test_a_misspelt_mark_means_nothing_without_dogfood(inner: Make) -> None:
    inner(MISSPELT).typed(QUIET).assert_outcomes(passed=3)
