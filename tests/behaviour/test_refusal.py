"""What is invalid is refused before anything runs: exit status 4, and every problem with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.run_results import Run
    from tests.support.scenes import Scene

BROKEN = {
    "a.journey.yaml": """
        journeys:
          - {id: marks, steps: [{run: touch "$DOGFOOD_ROOT/ran"}]}
          - {id: needs-nobody, requires: [nobody-makes-this], steps: [{run: "true"}]}
    """,
    "b.journey.yaml": """
        journeys:
          - {id: first, requires: [second-done], establishes: [first-done], steps: [{run: "true"}]}
          - {id: second, requires: [first-done], establishes: [second-done], steps: [{run: "true"}]}
    """,
    "c.journey.yaml": """
        journeys:
          - {id: one, workdir: same, establishes: [shared], steps: [{run: "true"}]}
          - {id: two, workdir: same, establishes: [shared], steps: [{run: "true"}]}
    """,
}


@pytest.fixture(scope="module", params=["-n0", "-n2", "--dogfood-check"])
def refused(request: pytest.FixtureRequest, new_scene: Callable[[], Scene]) -> tuple[Scene, Run, Run]:
    """Return the run over a graph with mistakes, and that with a file besides that cannot be read."""
    scene = new_scene()
    for name, text in BROKEN.items():
        scene.write(name, text)
    graph_only = scene.run(request.param)
    scene.write("d.journey.yaml", "journeys:\n  - {id: misspelt, step: [{run: a}]}\n")
    return scene, graph_only, scene.run(request.param)


def test_an_invalid_project_runs_nothing_and_ends_with_4(refused: tuple[Scene, Run, Run]) -> None:
    scene, graph_only, with_broken_file = refused
    assert graph_only.status == pytest.ExitCode.USAGE_ERROR
    assert with_broken_file.status == pytest.ExitCode.USAGE_ERROR
    assert not (scene.path / "ran").exists()


@pytest.mark.parametrize(
    "place, words",
    [
        ("a.journey.yaml:4:", "nobody-makes-this"),
        ("b.journey.yaml:3:", "first -> second -> first"),
        ("c.journey.yaml:4:", "share workdir 'same'"),
    ],
)
def test_every_problem_of_the_graph_is_told_with_its_place(
    refused: tuple[Scene, Run, Run], place: str, words: str
) -> None:
    assert any(place in line and words in line for line in refused[1].text.splitlines())


@pytest.mark.parametrize(
    "place, words",
    [
        ("b.journey.yaml:3:", "first -> second -> first"),
        ("d.journey.yaml:2:", "unknown key 'step'"),
    ],
)
def test_beside_a_broken_file_what_no_file_could_cure_is_told_too(
    refused: tuple[Scene, Run, Run], place: str, words: str
) -> None:
    assert any(place in line and words in line for line in refused[2].text.splitlines())


def test_a_token_that_a_broken_file_may_have_established_is_not_called_unknown(
    refused: tuple[Scene, Run, Run],
) -> None:
    assert "nobody-makes-this" not in refused[2].text
