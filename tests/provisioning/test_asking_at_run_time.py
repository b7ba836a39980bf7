"""`capabilities.require`: one outcome, whatever the order and the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Scene

MADE_BY_A_TEST = """
    import pytest

    {first}

    {second}
"""
MAKES = """@pytest.mark.establishes("made")
    def test_makes():
        pass
"""
ASKS = """def test_asks(capabilities):
        capabilities.require("made")
"""


@pytest.mark.parametrize(
    "workers, first, second",
    [("-n0", MAKES, ASKS), ("-n0", ASKS, MAKES), ("-n2", ASKS, MAKES)],
    ids=["after", "before", "before on workers"],
)
def test_what_only_a_test_establishes_is_refused_in_either_order(
    scene: Scene, workers: str, first: str, second: str
) -> None:
    scene.write("dogfood.yaml", "capabilities: {made: {scope: machine}}")
    scene.write("test_it.py", MADE_BY_A_TEST.format(first=first, second=second))
    run = scene.run(workers)
    assert (run.cases["test_makes"].kind, run.cases["test_asks"].kind) == ("passed", "error")
    assert "mark this test with @pytest.mark.requires('made')" in run.text


@pytest.mark.parametrize("scope", ["machine", "fleet"])
def test_a_journey_that_is_just_establishing_the_token_is_waited_for(scene: Scene, scope: str) -> None:
    scene.write(
        "a.journey.yaml",
        f"""
        capabilities: {{made: {{scope: {scope}, probe: 'test -e "$DOGFOOD_ROOT/made"'}}}}
        journeys:
          - id: make
            establishes: [made]
            estimate: 60s
            steps: ['echo x >> "$DOGFOOD_ROOT/tries"', 'sleep 1; touch "$DOGFOOD_ROOT/made"']
        """,
    )
    scene.write(
        "test_it.py",
        """
        import time
        from pathlib import Path

        def test_asks(capabilities):
            while not Path(__file__).with_name("tries").exists():
                time.sleep(0.02)
            capabilities.require("made")
        """,
    )
    run = scene.run("-n2")
    assert (run.status, scene.lines("tries")) == (0, ["x"]), run.text


def test_a_journey_that_requires_and_invalidates_a_token_has_its_values(scene: Scene) -> None:
    scene.write(
        "a.journey.yaml",
        """
        journeys:
          - id: log-in
            establishes: [logged-in]
            steps: [{run: echo user=ada, save: {user: {stdout: "user=(.*)"}}}]
          - id: log-out
            requires: [logged-in]
            invalidates: [logged-in]
            establishes: [logged-out]
            steps: ['test "$DOGFOOD_LOGGED_IN_USER" = ada']
          - {id: look, requires: [logged-out], steps: ['true']}
        """,
    )
    whole, alone = scene.run("-n0"), scene.run("-n0", "-k", "look")
    assert (whole.status, alone.status) == (0, 0), whole.text + alone.text
