"""What shards leave behind and their merge says the same as the run without shards, where shards have to do more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import pytest

from pytest_dogfood.cli.main import main
from tests.laws.test_shards_make_a_whole import closing_line
from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], Inner]


class Run(NamedTuple):
    """How a run ended, or the merge of its shards."""

    status: int
    closing_line: str


Both = Callable[..., tuple[Run, Run]]
"""Runs a project without shards, and in shards that are merged."""


@pytest.fixture
def both(inner: Make, capsys: pytest.CaptureFixture[str]) -> Both:
    """Run a project without shards, then in two shards that are merged."""

    def run(files: Mapping[str, str], *arguments: str) -> tuple[Run, Run]:
        scene = inner(files)
        whole = scene.dogfood(*arguments)
        for number in (1, 2):
            scene.dogfood(*arguments, f"--dogfood-shard={number}/2")
        capsys.readouterr()
        names = [str(scene.path / f"dogfood-shard-{number}-of-2.json") for number in (1, 2)]
        status = main(["merge", *names])
        said = capsys.readouterr().out
        return Run(int(whole.ret), closing_line(whole.stdout.str())), Run(status, closing_line(said))

    return run


def test_a_gate_that_a_declared_blocker_defers_is_open_on_every_shard(both: Both) -> None:
    files = {
        "a.journey.yaml": """
            capabilities: {up: {probe: 'false', provision: [run: 'true']}}
            journeys:
              - {id: gate, tier: smoke, gating: true, requires: [up], steps: [run: 'true']}
              - {id: use, steps: [run: 'true']}
        """
    }
    whole, merged = both(files, "--dogfood-blocked=up", "-o", "dogfood_min_measured=0")
    assert merged == whole
    assert whole.status == 0


def test_a_test_that_was_left_out_runs_on_shards_as_in_one_run_where_a_journey_can_be_replayed_instead(
    both: Both,
) -> None:
    files = {
        "a.journey.yaml": """
            capabilities: {up: {scope: machine, probe: test -e "$DOGFOOD_SHARED/up"}}
            journeys:
              - {id: start, estimate: 5, establishes: [up], steps: [run: touch "$DOGFOOD_SHARED/up"]}
              - {id: use, estimate: 9, requires: [up], steps: [run: 'true']}
              - {id: other, estimate: 5, steps: [run: 'true']}
        """,
        "test_a.py": """
            import pytest

            @pytest.mark.establishes("up")
            def test_a(): assert 0
        """,
    }
    whole, merged = both(files, "-k", "use or other")
    assert merged == whole
    assert whole.status == 1


FIXTURES = """
    import pytest

    import pytest_dogfood

    @pytest.fixture
    def server(): pass

    @pytest_dogfood.provides("ready")
    @pytest.fixture
    def provider(dogfood_state):
        (dogfood_state / "ready").touch()
"""


GATES = """
    journeys:
      - {id: uses, tier: smoke, gating: true, use: [server], steps: [run: 'true']}
      - {id: requires, tier: smoke, gating: true, requires: [ready], steps: [run: test -e "$DOGFOOD_STATE/ready"]}
"""


def test_a_gate_of_another_shard_has_its_own_fixtures_in_its_own_state(both: Both) -> None:
    files = {
        "dogfood.yaml": "{capabilities: {ready: {}}}",
        "a/conftest.py": FIXTURES,
        "a/a.journey.yaml": GATES,
        "b.journey.yaml": "{journeys: [{id: held-back, steps: [run: 'true']}]}",
    }
    whole, merged = both(files)
    assert merged == whole
    assert whole.status == 0


def test_what_establishes_a_token_with_a_fixture_of_its_directory_comes_back_into_a_selection(
    both: Both,
) -> None:
    files = {
        "a/conftest.py": FIXTURES,
        "a/a.journey.yaml": "{journeys: [{id: start, establishes: [up], use: [server], steps: [run: 'true']}]}",
        "b.journey.yaml": "{journeys: [{id: late, requires: [up], steps: [run: 'true']}]}",
    }
    whole, merged = both(files, "-k", "late")
    assert merged == whole
    assert whole.status == 0


def test_a_shard_that_measured_nothing_by_itself_does_not_count_if_all_have_measured_enough(
    both: Both,
) -> None:
    files = {
        "a.journey.yaml": """
            capabilities: {up: {probe: 'false', provision: [run: 'true']}}
            journeys:
              - {id: blocked, estimate: 5, requires: [up], steps: [run: 'true']}
              - {id: one, estimate: 2, steps: [run: 'true']}
              - {id: two, estimate: 2, steps: [run: 'true']}
        """
    }
    whole, merged = both(files, "--dogfood-blocked=up")
    assert merged == whole
    assert whole.status == 0


def test_shards_that_measured_enough_by_themselves_may_have_measured_too_little_in_all(both: Both) -> None:
    files = {
        "a.journey.yaml": """
            capabilities:
              up: {scope: machine, probe: test -e "$DOGFOOD_SHARED/up"}
              down: {scope: machine, probe: 'false'}
            journeys:
              - {id: one, requires: [up, down], steps: [run: 'true']}
              - {id: two, requires: [up, down], steps: [run: 'true']}
        """,
        "test_a.py": """
            import pytest

            @pytest.mark.establishes("up")
            def test_a(dogfood_state):
                shared = dogfood_state.parent / "shared"
                shared.mkdir(exist_ok=True)
                (shared / "up").touch()
        """,
    }
    whole, merged = both(files, "--dogfood-blocked=down")
    assert merged == whole
    assert whole.status == 1
