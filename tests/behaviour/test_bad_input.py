"""Bad input runs nothing, on any worker: exit status 4, and every problem with its place, all at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], "Inner"]

RAN = "touch $DOGFOOD_ROOT/ran"
BESIDE = {
    "good.journey.yaml": f"{{journeys: [{{id: good, steps: [run: '{RAN}']}}]}}",
    "test_good.py": "def test_good(): open('ran', 'w')",
}
BROKEN_FILES = {
    "a01.journey.yaml": "journeys: [\n  {id: a\n",
    "a02.journey.yaml": "",
    "a03.journey.yaml": "[a, list]",
    "a04.journey.yaml": "journeys:\n  - {id: a04, steps: 7}\n",
    "a05.journey.yaml": "journeys:\n  - id: a05\n    step: [run: 'true']\n    steps: [run: 'true']\n",
    "a06.journey.yaml": "journeys:\n  - id: a06\n    id: again\n    steps: [run: 'true']\n",
    "a07.journey.yaml": "journeys:\n  - {id: same, steps: [run: 'true']}\n",
    "a08.journey.yaml": "journeys:\n  - {id: same, steps: [run: 'true']}\n",
    "a09.journey.yaml": "journeys:\n  - {id: a09}\n",
    "a10.journey.yaml": "journeys:\n  - {id: a10, steps: []}\n",
    "a11.journey.yaml": "journeys:\n  - {id: a11, requires: [Not_Kebab], steps: [run: 'true']}\n",
    "a12.journey.yaml": "journeys:\n  - {id: a12, seed_files: {../out: x}, steps: [run: 'true']}\n",
    "a13.journey.yaml": "journeys: " + "[" * 100_000,
    "a14.journey.yaml": "a: &a [x, x]\n"
    + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(20)),
    "a15.journey.json": '{"journeys": [{"id": "a15" "steps": []}]}',
    "a16.journey.yaml": "journeys:\n  - {id: a16, steps: [run: ! grep x]}\n",
    "a17.journey.yaml": "journeys:\n  - id: a17\n    steps:\n      - run: [ -f x ]\n",
    "a18.journey.yaml": "journeys:\n  - {id: a18, marks: [7up], steps: [run: 'true']}\n",
    "a19.journey.json": "[" * 100_000,
}
PLACES = [
    "a01.journey.yaml:",
    "a02.journey.yaml*",
    "a03.journey.yaml:1:1: *",
    "a04.journey.yaml:2:*",
    "a05.journey.yaml:3:5: *'step'*",
    "a06.journey.yaml:3:5: *'id'*",
    "a08.journey.yaml:2:*'same'*a07.journey.yaml:2*",
    "a09.journey.yaml:2:*without steps*",
    "a10.journey.yaml:2:*",
    "a11.journey.yaml:2:*Not_Kebab*",
    "a12.journey.yaml:2:*../out*",
    "a13.journey.yaml:1:*",
    "a14.journey.yaml:*",
    "a15.journey.json:1:*",
    "a16.journey.yaml:2:*",
    "a17.journey.yaml:4:*",
    "a18.journey.yaml:2:*7up*",
    "a19.journey.json:1:*",
    "b1-bytes.journey.yaml:*UTF-8*",
    "b2-huge.journey.yaml: *",
    "b3-gone.journey.yaml: cannot be read*",
]
WAYS = [("-n0",), ("-n2",), ("--dogfood-check",)]


@dataclass(frozen=True)
class Refusal:
    inner: Inner
    result: pytest.RunResult
    told: str

    def assert_refused(self) -> None:
        assert self.result.ret == pytest.ExitCode.USAGE_ERROR, self.told
        assert not (self.inner.path / "ran").exists()
        assert "Traceback" not in self.told
        assert "INTERNALERROR" not in self.told

    def assert_told(self, *patterns: str) -> None:
        matcher = pytest.LineMatcher(self.told.splitlines())
        matcher.fnmatch_lines_random([f"{pattern}*" for pattern in patterns])


def refuse(scene: Inner, *options: str) -> Refusal:
    result = scene.dogfood(*options)
    return Refusal(scene, result, result.stdout.str() + "\n" + result.stderr.str())


@pytest.fixture(scope="module", params=WAYS, ids=["alone", "workers", "check"])
def broken(request: pytest.FixtureRequest, inner: Make) -> Refusal:
    scene = inner({**BESIDE, **BROKEN_FILES})
    (scene.path / "b1-bytes.journey.yaml").write_bytes(b"journeys:\n  - id: caf\xe9\n")
    with (scene.path / "b2-huge.journey.yaml").open("wb") as huge:
        huge.truncate(100_000_000)
    (scene.path / "b3-gone.journey.yaml").symlink_to("nowhere")
    return refuse(scene, *request.param)


def test_broken_files_run_nothing(broken: Refusal) -> None:
    broken.assert_refused()


@pytest.mark.parametrize("place", PLACES, ids=[place[:3] for place in PLACES])
def test_every_broken_file_is_named_with_the_place(broken: Refusal, place: str) -> None:
    broken.assert_told(place)


def test_a_misspelt_key_comes_with_a_suggestion(broken: Refusal) -> None:
    broken.assert_told("    hint: did you mean *steps*")


def test_shell_text_that_yaml_mistakes_comes_with_a_suggestion(broken: Refusal) -> None:
    broken.assert_told("    hint:*run: |*")


GRAPH = {
    **BESIDE,
    "dogfood.yaml": """
        capabilities:
          never-brought: {}
          per-machine: {scope: machine}
          needs-itself-1: {requires: [needs-itself-2], provision: [run: "true"]}
          needs-itself-2: {requires: [needs-itself-1], provision: [run: "true"]}
          a-b: {provision: [{run: echo x, save: {c: {stdout: x}}}]}
          a: {provision: [{run: echo x, save: {b_c: {stdout: x}}}]}
    """,
    "conftest.py": """
        import pytest

        import pytest_dogfood

        @pytest_dogfood.provides("per-machine")
        @pytest.fixture
        def per_machine():
            pass
    """,
    "g.journey.yaml": """
        journeys:
          - {id: chicken, requires: [egg-laid], establishes: [chicken-hatched], steps: [run: "true"]}
          - {id: egg, requires: [chicken-hatched], establishes: [egg-laid], steps: [run: "true"]}
          - {id: lost, requires: [egg-layd], steps: [run: "true"]}
          - {id: share-1, workdir: repo, requires: [here], steps: [run: "true"]}
          - {id: share-2, workdir: repo, requires: [here], steps: [run: "true"]}
          - {id: here, tier: deep, establishes: [here], steps: [run: "true"]}
          - {id: gate, tier: smoke, gating: true, requires: [here], steps: [run: "true"]}
          - {id: clash, requires: [a-b, a], steps: [run: "true"]}
    """,
}
GRAPH_PROBLEMS = [
    "dogfood.yaml:3:*'never-brought' has no probe and no provider*[[]empty-capability]",
    "dogfood.yaml:5:*needs 'needs-itself-1' itself*[[]cycle]",
    "g.journey.yaml:3:*dependency cycle: *chicken*egg*",
    "g.journey.yaml:5:*'egg-layd'*[[]unknown-token]",
    "    hint: did you mean 'egg-laid'?",
    "g.journey.yaml:7:*'share-2' and 'share-1' (g.journey.yaml:6*workdir 'repo'*[[]workdir-conflict]",
    "g.journey.yaml:9:*'gate' is a gate of tier 'smoke', but needs 'here' of the later tier*[[]gate-needs-later-tier]",
    "g.journey.yaml:10:*'clash' would get $DOGFOOD_A_B_C from both*[[]variable-conflict]",
]


@pytest.fixture(scope="module", params=WAYS, ids=["alone", "workers", "check"])
def contradictory(request: pytest.FixtureRequest, inner: Make) -> Refusal:
    return refuse(inner(GRAPH), *request.param)


def test_a_contradictory_graph_runs_nothing(contradictory: Refusal) -> None:
    contradictory.assert_refused()


def test_every_contradiction_is_told_with_its_place(contradictory: Refusal) -> None:
    contradictory.assert_told(*GRAPH_PROBLEMS)


MARKS = {
    **BESIDE,
    "dogfood.yaml": "capabilities:\n  per-machine: {scope: machine, probe: 'true'}\n  egg-laid: {}\n  hatched: {}\n",
    "conftest.py": GRAPH["conftest.py"],
    "test_marks.py": """
        import pytest

        @pytest.mark.requires("nobody-knows-it")
        def test_unknown():
            open("ran", "w")

        @pytest.mark.requires("Not_Kebab", 7, token="hatched")
        def test_no_tokens():
            open("ran", "w")

        @pytest.mark.requires("egg-laid")
        @pytest.mark.establishes("hatched")
        def test_egg():
            open("ran", "w")

        @pytest.mark.requires("hatched")
        @pytest.mark.establishes("egg-laid")
        def test_chicken():
            open("ran", "w")

        @pytest.mark.requires("egg-laid")
        @pytest.mark.establishes("egg-laid")
        def test_itself():
            open("ran", "w")
    """,
}


@pytest.fixture(scope="module", params=WAYS, ids=["alone", "workers", "check"])
def marked(request: pytest.FixtureRequest, inner: Make) -> Refusal:
    return refuse(inner(MARKS), *request.param)


def test_what_only_marks_show_runs_nothing_either(marked: Refusal) -> None:
    marked.assert_refused()
    assert "did not run to the end" not in marked.told  # for nothing was to run


def test_every_problem_of_marks_is_told_with_its_place(marked: Refusal) -> None:
    marked.assert_told(
        "test_marks.py:4:*'nobody-knows-it'*[[]unknown-token]",
        "test_marks.py:8:*the mark 'requires' takes tokens, * not token='hatched', 'Not_Kebab', 7 [[]bad-token]",
        "    hint: write @pytest.mark.requires('not-kebab', '7', 'hatched'): a token is kebab-case text",
        "test_marks.py:*dependency cycle*",
        "test_marks.py:22:*both requires and establishes 'egg-laid'*",
        "dogfood.yaml:2:*'per-machine' has scope 'machine', but fixture 'per_machine'*",
    )


@pytest.mark.parametrize("way", WAYS, ids=["alone", "workers", "check"])
def test_an_unknown_mark_is_refused_where_marks_are_strict(inner: Make, way: tuple[str, ...]) -> None:
    scene = inner(
        {
            **BESIDE,
            "pytest.ini": "[pytest]\naddopts = --strict-markers\n",
            "m.journey.yaml": f"journeys:\n  - {{id: m, marks: [slwo], steps: [run: '{RAN}']}}\n",
        }
    )
    refusal = refuse(scene, *way)
    refusal.assert_refused()
    refusal.assert_told("m.journey.yaml:2:*'slwo' not found in `markers`*[[]unknown-mark]")


def test_an_unknown_mark_is_a_warning_elsewhere(inner: Make) -> None:
    files = {"m.journey.yaml": "journeys:\n  - {id: m, marks: [slwo], steps: [run: 'true']}\n"}
    result = inner(files).dogfood()
    result.assert_outcomes(passed=1, warnings=1)


REPEATING = """
    def pytest_generate_tests(metafunc):
        metafunc.fixturenames.append("repeated")
        metafunc.parametrize("repeated", [1, 2], indirect=True, ids=["1-2", "2-2"])
"""
AUTOUSE = """
    import pytest

    @pytest.fixture(autouse=True, params=["chromium"])
    def browser(request):
        return request.param
"""


@pytest.mark.parametrize("way", WAYS, ids=["alone", "workers", "check"])
@pytest.mark.parametrize("conftest, name", [(REPEATING, "good[[]1-2]"), (AUTOUSE, "good[[]chromium]")])
def test_a_parametrised_journey_is_refused(
    inner: Make, way: tuple[str, ...], conftest: str, name: str
) -> None:
    refusal = refuse(inner({**BESIDE, "conftest.py": conftest}), *way)
    refusal.assert_refused()
    refusal.assert_told(f"good.journey.yaml:1:*'good' would run as {name}:*[[]parametrised-journey]")
    assert refusal.told.count("parametrised-journey") == 1


def test_a_seed_file_that_leaves_through_a_symbolic_link_is_an_error(inner: Make) -> None:
    scene = inner(
        {
            "a.journey.yaml": """
                journeys:
                  - id: a
                    steps:
                      - run: ln -s "$DOGFOOD_ROOT" out
                      - {run: "true", seed_files: {out/ran: x}}
            """
        }
    )
    result = scene.dogfood("-rA")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not (scene.path / "ran").exists()
    result.stdout.fnmatch_lines(["ERROR a.journey.yaml::a*"])


@pytest.mark.parametrize(
    "options,words",
    [
        (("-o", "dogfood_min_measured=200"), "dogfood_min_measured"),
        (("-o", "dogfood_min_measured=many"), "dogfood_min_measured"),
        (("-o", "dogfood_timeout=soon"), "dogfood_timeout"),
        (("-o", "dogfood_provision=sometimes"), "dogfood_provision"),
        (("--dogfood-blocked=Not_Kebab",), "--dogfood-blocked"),
    ],
)
def test_an_option_that_cannot_be_meant_is_named(inner: Make, options: tuple[str, ...], words: str) -> None:
    refusal = refuse(inner(BESIDE), *options)
    refusal.assert_refused()
    assert words in refusal.told


def test_a_journey_file_outside_of_the_rootdir_is_refused(inner: Make) -> None:
    scene = inner({"here/pytest.ini": "[pytest]\n", "there/a.journey.yaml": "steps: [run: 'true']\n"})
    result = scene.dogfood("-c", "here/pytest.ini", "--rootdir=here", "there/a.journey.yaml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*there/a.journey.yaml: lies outside of pytest's rootdir *[[]outside-rootdir]"]
    )
