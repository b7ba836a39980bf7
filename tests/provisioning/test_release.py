"""What others stand on stays, and goes in the reverse order of dependency: once, whatever is selected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_dogfood.journey import ChainId, JourneyId, StateId, Token
from pytest_dogfood.scheduling.lifetimes import Lifetimes
from pytest_dogfood.scheduling.plan import Plan, PlannedJourney

if TYPE_CHECKING:
    from tests.support.scenes import Scene

WORKERS = pytest.mark.parametrize("workers", ["-n0", "-n2"])
LOG = 'echo "{}" >> "$DOGFOOD_ROOT/log"'


def a_plan(rests_on: dict[str, str], **uses: str) -> Plan:
    """Make a plan of items that use tokens, which rest on others; names are divided by spaces."""

    def tokens(names: str) -> tuple[Token, ...]:
        return tuple(map(Token, names.split()))

    return Plan(
        journeys=tuple(
            PlannedJourney(
                id=JourneyId(name),
                nodeid=name,
                chain=ChainId(name),
                state=StateId(name),
                number=0,
                uses=tokens(used),
            )
            for name, used in uses.items()
        ),
        rests_on={Token(token): tokens(bases) for token, bases in rests_on.items()},
    )


def test_a_token_dies_with_the_last_item_that_names_it() -> None:
    lifetimes = Lifetimes(a_plan({"db": ""}, a="db", b="db"))
    assert [lifetimes.finish(JourneyId("a")), lifetimes.finish(JourneyId("b"))] == [(), ("db",)]


def test_an_item_that_is_finished_twice_counts_once() -> None:
    lifetimes = Lifetimes(a_plan({"db": ""}, a="db", b="db"))
    assert [lifetimes.finish(JourneyId("a")), lifetimes.finish(JourneyId("a"))] == [(), ()]


def test_a_token_lives_while_one_that_rests_on_it_lives() -> None:
    lifetimes = Lifetimes(a_plan({"schema": "db", "db": ""}, migrate="db schema", query="schema"))
    assert lifetimes.finish(JourneyId("migrate")) == ()
    assert lifetimes.finish(JourneyId("query")) == ("schema", "db")


def test_what_nothing_keeps_alive_dies_before_what_it_rests_on() -> None:
    rests_on = {"report": "db", "sum": "report cache", "db": "", "cache": ""}
    lifetimes = Lifetimes(a_plan(rests_on, query="db", look="cache"))
    assert lifetimes.finish(JourneyId("query")) == ("sum", "report", "db")
    assert lifetimes.finish(JourneyId("look")) == ("cache",)


def test_a_long_chain_of_tokens_dies_without_recursion() -> None:
    rests_on = {f"t{number}": f"t{number - 1}" for number in range(1, 5000)}
    lifetimes = Lifetimes(a_plan({**rests_on, "t0": ""}, last="t4999"))
    assert len(lifetimes.finish(JourneyId("last"))) == 5000


def test_release_goes_by_dependency_before_age() -> None:
    lifetimes = Lifetimes(a_plan({"schema": "db", "db": "", "cache": ""}))
    made = [(Token("db"), "s", 9.0), (Token("schema"), "s", 1.0), (Token("cache"), "s", 5.0)]
    assert [token for token, _, _ in lifetimes.in_release_order(made)] == ["schema", "db", "cache"]


def capability(name: str, *, scope: str = "chain", requires: str = "") -> str:
    """Write a capability that logs how often it is provisioned and released."""
    return (
        f"{{scope: {scope}, requires: [{requires}], probe: 'test -e \"$DOGFOOD_ROOT/{name}\"', "
        f"provision: ['{LOG.format('+' + name)}; touch \"$DOGFOOD_ROOT/{name}\"'], "
        f"release: ['{LOG.format('-' + name)}; rm \"$DOGFOOD_ROOT/{name}\"']}}"
    )


def journey(name: str, *, requires: str = "", establishes: str = "") -> str:
    return (
        f"{{id: {name}, requires: [{requires}], establishes: [{establishes}], steps: ['{LOG.format(name)}']}}"
    )


def project(capabilities: dict[str, str], *journeys: str) -> str:
    """Write a project file of capabilities by name, and journeys."""
    lines = [f"  {name}: {text}" for name, text in capabilities.items()]
    return "\n".join(["capabilities:", *lines, "journeys:", *(f"  - {one}" for one in journeys)])


SERVICE = """
    capabilities:
      db-up:
        scope: machine
        probe: test -e "$DOGFOOD_ROOT/db"
        service: {run: 'touch "$DOGFOOD_ROOT/db"; trap "rm $DOGFOOD_ROOT/db; exit" TERM; while :; do sleep 0.1; done'}
    journeys:
      - {id: migrate, requires: [db-up], establishes: [migrated], steps: ['true']}
      - {id: query, requires: [migrated], steps: ['test -e "$DOGFOOD_ROOT/db"']}
"""
IN_PYTHON = """
    from pathlib import Path

    import pytest

    @pytest.mark.requires("db-up")
    @pytest.mark.establishes("migrated")
    def test_migrate():
        pass

    @pytest.mark.requires("migrated")
    def test_query():
        assert Path(__file__).with_name("db").exists()
"""


@pytest.mark.parametrize(
    "workers, selected, language",
    [
        ("-n0", "migrate or query", "yaml"),
        ("-n2", "query", "yaml"),
        ("-n2", "migrate or query", "python"),
        ("-n0", "query", "python"),
    ],
)
def test_a_service_lives_while_what_was_built_on_it_is_used(
    scene: Scene, workers: str, selected: str, language: str
) -> None:
    files = {"yaml": SERVICE, "python": SERVICE.partition("journeys:")[0] + "  migrated: {}\n"}
    scene.write("a.journey.yaml" if language == "yaml" else "dogfood.yaml", files[language])
    if language == "python":
        scene.write("test_it.py", IN_PYTHON)
    run = scene.run(workers, "-k", selected)
    assert run.status == 0, run.text
    assert not (scene.path / "db").exists()


@pytest.mark.parametrize("workers, selected", [("-n2", "use"), ("-n0", "use-2")])
def test_a_chain_token_below_one_of_the_machine_is_released_after_it(
    scene: Scene, workers: str, selected: str
) -> None:
    capabilities = {
        "net": capability("net"),
        "cluster": capability("cluster", scope="machine", requires="net"),
    }
    scene.write(
        "a.journey.yaml",
        project(
            capabilities, journey("use-1", requires="cluster, net"), journey("use-2", requires="cluster, net")
        ),
    )
    run = scene.run(workers, "-k", selected)
    log = scene.lines("log")
    assert (run.status, log[:2], log[-2:]) == (0, ["+net", "+cluster"], ["-cluster", "-net"]), run.text
    assert len(log) == len(set(log))


def test_a_base_that_was_made_again_is_still_released_after_what_rests_on_it(scene: Scene) -> None:
    capabilities = {"net": capability("net"), "db": capability("db", requires="net")}
    destroys = """{id: cut, requires: [db, net], steps: ['rm "$DOGFOOD_ROOT/net"']}"""
    scene.write("a.journey.yaml", project(capabilities, destroys, journey("use", requires="net, db")))
    run = scene.run("-n0")
    assert run.status == 0, run.text
    assert scene.lines("log") == ["+net", "+db", "+net", "use", "-db", "-net"]


@WORKERS
def test_a_token_is_released_after_the_last_rerun_of_its_last_user(scene: Scene, workers: str) -> None:
    flaky = f"{{id: try, requires: [db], steps: ['{LOG.format('try')}; grep -c try \"$DOGFOOD_ROOT/log\" | grep 2']}}"
    scene.write("a.journey.yaml", project({"db": capability("db")}, flaky))
    run = scene.run(workers, "--reruns", "1")
    assert run.status == 0, run.text
    assert scene.lines("log") == ["+db", "try", "try", "-db"]


def test_what_an_item_invalidated_is_released_once_as_incomplete(scene: Scene) -> None:
    scene.write(
        "a.journey.yaml",
        """
        capabilities:
          db:
            provision: ['true']
            release: ['echo "-db $DOGFOOD_RELEASE_OF" >> "$DOGFOOD_ROOT/log"']
        journeys:
          - {id: use, requires: [db], steps: ['true']}
          - {id: destroy, requires: [db], invalidates: [db], steps: ['true']}
        """,
    )
    run = scene.run("-n0")
    assert (run.status, scene.lines("log")) == (0, ["-db incomplete"]), run.text


def test_a_release_that_fails_is_an_error_of_the_last_user_and_defers_nothing(scene: Scene) -> None:
    scene.write(
        "a.journey.yaml",
        """
        capabilities:
          tmp: {provision: ['true'], release: ['exit 7']}
        journeys:
          - {id: make, requires: [tmp], establishes: [made], steps: ['true']}
          - {id: use, requires: [made], steps: ['true']}
        """.replace("tmp: {", "made: {outlives: [tmp]}\n          tmp: {"),
    )
    run = scene.run("-n0")
    assert (run.cases["make"].kind, run.cases["use"].kind) == ("error", "passed"), run.text


@WORKERS
def test_the_release_of_what_was_built_on_a_service_reaches_the_service(scene: Scene, workers: str) -> None:
    scene.write(
        "a.journey.yaml",
        """
        capabilities:
          db-up:
            scope: machine
            probe: test -e "$DOGFOOD_SHARED/db-$DOGFOOD_DB_UP_PORT"
            service: {run: 'touch "$DOGFOOD_SHARED/db-$DOGFOOD_DB_UP_PORT"; exec sleep 300', ports: [port]}
          schema:
            scope: machine
            requires: [db-up]
            probe: test -e "$DOGFOOD_SHARED/schema"
            provision: ['touch "$DOGFOOD_SHARED/schema"']
            release: ['test -e "$DOGFOOD_SHARED/db-$DOGFOOD_DB_UP_PORT"; echo dropped >> "$DOGFOOD_ROOT/log"']
        journeys:
          - {id: query, requires: [schema], steps: ['test -e "$DOGFOOD_SHARED/db-$DOGFOOD_DB_UP_PORT"']}
        """,
    )
    run = scene.run(workers)
    assert (run.status, scene.lines("log")) == (0, ["dropped"]), run.text


HALF_MADE = """
    capabilities:
      chain-made:
        probe: test -e "$DOGFOOD_STATE/ready"
        provision: ['echo id=17', 'exit 1']
        release: ['echo "chain-made $DOGFOOD_RELEASE_OF" >> "$DOGFOOD_ROOT/log"']
      machine-made:
        scope: machine
        probe: test -e "$DOGFOOD_SHARED/ready"
        provision: [{run: 'echo id=17', save: {id: {stdout: "id=(.*)"}}}, {run: 'exit 1'}]
        release: ['echo "machine-made $DOGFOOD_RELEASE_OF $id" >> "$DOGFOOD_ROOT/log"']
      denied:
        probe: "false"
        provision: ['true']
        release: ['echo "denied $DOGFOOD_RELEASE_OF" >> "$DOGFOOD_ROOT/log"']
      by-journey: {release: ['echo "by-journey $DOGFOOD_RELEASE_OF $id" >> "$DOGFOOD_ROOT/log"']}
      whole: {provision: ['true'], release: ['echo "whole $DOGFOOD_RELEASE_OF" >> "$DOGFOOD_ROOT/log"']}
    journeys:
      - {id: u1, requires: [chain-made], steps: ['true']}
      - {id: u2, requires: [machine-made], steps: ['true']}
      - {id: u3, requires: [denied], steps: ['true']}
      - id: make
        establishes: [by-journey]
        steps: [{run: 'echo id=18', save: {id: {stdout: "id=(.*)"}}}, {run: 'exit 1'}]
      - {id: u4, requires: [by-journey], steps: ['true']}
      - {id: u5, requires: [whole], steps: ['true']}
"""


@pytest.mark.parametrize(
    "workers, selected", [("-n0", "make or u1 or u2 or u3 or u4 or u5"), ("-n2", "not make")]
)
def test_what_was_made_by_half_is_released_once_with_the_values_saved_so_far(
    scene: Scene, workers: str, selected: str
) -> None:
    scene.write("a.journey.yaml", HALF_MADE)
    scene.run(workers, "-k", selected)
    assert sorted(scene.lines("log")) == [
        "by-journey incomplete 18",
        "chain-made incomplete",
        "denied incomplete",
        "machine-made incomplete 17",
        "whole complete",
    ]


def test_what_was_there_before_the_run_is_not_released_however_much_is_made_of_it(scene: Scene) -> None:
    scene.write(
        "a.journey.yaml",
        """
        capabilities:
          disk:
            scope: machine
            probe: test -e "$DOGFOOD_ROOT/disk"
            release: ['rm "$DOGFOOD_ROOT/disk"']
        journeys: [{id: make, establishes: [disk], steps: ['touch "$DOGFOOD_ROOT/disk"']}]
        """,
    )
    scene.write("disk", "")
    assert scene.run("-n0").status == 0
    assert (scene.path / "disk").exists()


SAVING = """
    journeys:
      - id: fails-later
        steps: [{run: 'echo id=17', save: {id: {stdout: "id=(\\\\d+)"}}}, {run: 'exit 1'}]
        cleanup: ['echo "delete ${id:-UNSET}" >> "$DOGFOOD_ROOT/log"']
      - id: fails-itself
        steps: [{run: 'echo id=18; exit 1', save: {id: {stdout: "id=(\\\\d+)"}}}]
        cleanup: ['echo "delete ${id:-UNSET}" >> "$DOGFOOD_ROOT/log"']
      - id: is-not-as-expected
        steps: [{run: 'echo id=19', save: {id: {stdout: "id=(\\\\d+)"}}, expect: {stdout: {contains: nothing}}}]
        cleanup: ['echo "delete ${id:-UNSET}" >> "$DOGFOOD_ROOT/log"']
      - id: times-out
        steps: [{run: 'echo id=20; sleep 60', timeout: 1, save: {id: {stdout: "id=(\\\\d+)"}}}]
        cleanup: ['echo "delete ${id:-UNSET}" >> "$DOGFOOD_ROOT/log"']
"""


def test_clean_up_sees_what_was_saved_however_the_journey_ended(scene: Scene) -> None:
    scene.write("a.journey.yaml", SAVING)
    scene.run("-n0")
    assert sorted(scene.lines("log")) == ["delete 17", "delete 18", "delete 19", "delete 20"]


@pytest.mark.parametrize(
    "command, runs",
    [
        ("echo $dir", False),
        ('echo "${dir}"', False),
        ('echo "${dir:?}"', False),
        ('echo "${dir%/}"', False),
        ('echo "${dir:-none}"', True),
        ('echo "${dir-none}"', True),
        ('if [ -n "${dir:-}" ]; then echo "$dir"; fi', True),
        ("echo $directory", True),
    ],
)
def test_a_clean_up_step_that_names_a_missing_saved_value_is_reported_and_not_run(
    scene: Scene, command: str, *, runs: bool
) -> None:
    scene.write(
        "a.journey.yaml",
        f"""
        journeys:
          - id: make
            steps: ['exit 1', {{run: 'echo dir=/x', save: {{dir: {{stdout: "dir=(.*)"}}}}}}]
            cleanup: ['touch "$DOGFOOD_ROOT/ran"; {command}', 'touch "$DOGFOOD_ROOT/other"']
        """,
    )
    run = scene.run("-n0")
    assert (scene.path / "ran").exists() is runs
    assert (scene.path / "other").exists()
    assert (
        "clean-up of make: a.journey.yaml:5:15: not run, because no step has saved dir" in run.text
    ) is not runs


@pytest.mark.parametrize("workers, selected", [("-n0", "make-user or use-user"), ("-n2", "use-user")])
def test_the_clean_up_of_a_replay_sees_what_it_saved(scene: Scene, workers: str, selected: str) -> None:
    scene.write(
        "a.journey.yaml",
        """
        journeys:
          - id: make-user
            establishes: [user-made]
            steps: [{run: 'echo session=s17', save: {session: {stdout: "session=(\\\\w+)"}}}]
            cleanup: ['echo "out of $session" >> "$DOGFOOD_ROOT/log"']
          - {id: use-user, requires: [user-made], steps: ['true']}
        """,
    )
    run = scene.run(workers, "-k", selected)
    assert (run.status, scene.lines("log")) == (0, ["out of s17"]), run.text


@WORKERS
def test_what_a_replay_makes_once_more_is_released_before_what_it_rests_on(
    scene: Scene, workers: str
) -> None:
    scene.write(
        "shop.journey.yaml",
        """
        capabilities:
          db: {probe: 'test -e "$DOGFOOD_STATE/db"', release: ['echo -db >> "$DOGFOOD_ROOT/log"']}
          table: {release: ['echo -table >> "$DOGFOOD_ROOT/log"']}
          index: {release: ['echo -index >> "$DOGFOOD_ROOT/log"']}
        journeys:
          - {id: lay, establishes: [db], steps: [{run: 'touch "$DOGFOOD_STATE/db"'}]}
          - {id: fill, requires: [db], establishes: [table, index], steps: [{run: 'echo fill >> "$DOGFOOD_ROOT/log"'}]}
          - {id: drop, requires: [table, index], invalidates: [db], steps: [{run: 'rm "$DOGFOOD_STATE/db"'}]}
          - {id: query, requires: [table], steps: [{run: "true"}]}
        """,
    )
    run = scene.run(workers, "-p", "no:randomly")
    assert run.status == 0, run.text
    assert scene.lines("log") == ["fill", "-index", "fill", "-index", "-table", "-db"]
