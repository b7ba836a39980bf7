from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.behaviour.test_off import Make
from tests.support.command_line import dogfood
from tests.support.scenes import Inner

SHOP = {
    "shop.journey.yaml": """
        capabilities:
          image:
            scope: machine
            probe: test -e "$DOGFOOD_SHARED/image"
            provision: [{run: touch "$DOGFOOD_SHARED/image"}]
        journeys:
          - {id: gate, tier: smoke, gating: true, steps: [run: 'true']}
          - {id: log-in, establishes: [session], steps: [run: 'true']}
          - {id: buy, requires: [session, image], establishes: [order], steps: [run: 'true']}
          - {id: pay, requires: [order], steps: [run: 'true']}
        """
}


@pytest.fixture(scope="module")
def shop(inner: Make) -> Inner:
    return inner(SHOP)


def test_a_journey_is_explained_by_what_it_needs_who_brings_it_and_where(shop: Inner) -> None:
    done = dogfood(shop.path, "explain", "buy")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "buy (shop.journey.yaml:10:10)",
        "  needs session (chain)",
        "      established by log-in; otherwise provisioned by replaying log-in, in its chain's state",
        "  needs image (machine)",
        "      provisioned by its provision steps, once for the machine",
        "  establishes order (chain) for pay",
        "  chain log-in: shares one state and one worker with 2 others, tied by order, session",
        "  comes after: log-in",
        "  gates before it: gate",
        "  takes 1.0 s (a guess, because no duration is known); on the critical path",
    ]


def test_a_journey_of_a_split_chain_is_explained_by_its_state(inner: Make) -> None:
    project = inner(
        {
            "shop.journey.yaml": """
                capabilities:
                  session: {copyable: true}
                journeys:
                  - {id: log-in, establishes: [session], steps: [run: 'true']}
                  - {id: buy, requires: [session], establishes: [order], steps: [run: 'true']}
                  - {id: pay, requires: [session, order], steps: [run: 'true']}
                  - {id: look, requires: [session], steps: [run: 'true']}
                """
        }
    )
    first, second = (dogfood(project.path, "explain", name).stdout.splitlines() for name in ("log-in", "pay"))
    assert first[2:5] == [
        "  chain log-in: with 3 others, tied by session; it is split into 3 states",
        "  state of log-in: it runs there first",
        "  behind it 2 parts of the chain begin as copies: buy, look",
    ]
    assert second[5:7] == [
        "  chain log-in: with 3 others, tied by order, session; it is split into 3 states",
        "  state of buy, which begins as a copy behind log-in: it runs there after buy",
    ]


def test_a_shard_is_named_that_does_and_one_that_does_not_run_the_journey(shop: Inner) -> None:
    shown = [dogfood(shop.path, "explain", "buy", f"--shard={n}/2").stdout for n in (1, 2)]
    assert sorted("  does not run in shard" in text for text in shown) == [False, True]
    assert sorted("  runs in shard" in text for text in shown) == [False, True]


@pytest.fixture(scope="module")
def kept(shop: Inner) -> Path:
    # Without pytest's cache, in which durations would be that other tests of this file do not expect.
    done = shop.dogfood("--dogfood-keep", "-k", "not log-in", without=["cacheprovider"])
    shown = re.search(r"^dogfood: kept (.+)$", done.stdout.str(), re.MULTILINE)
    assert shown is not None
    return Path(shown[1])


def test_a_finished_run_says_where_it_ran_what_proved_each_token_and_what_was_provisioned(
    shop: Inner, kept: Path
) -> None:
    done = dogfood(shop.path, "explain", "shop.journey.yaml::buy", "--run", str(kept))
    assert done.returncode == 0
    told = done.stdout.partition("  in that run: ")[2]
    assert told.startswith("passed, on worker ")
    assert re.search(r"^      image: proved by its probe$", told, re.MULTILINE)
    assert re.search(
        r"^      session: provisioned by replaying log-in in \S+, \d+\.\d s$", told, re.MULTILINE
    )


def test_a_finished_run_says_for_whom_a_token_was_there(shop: Inner, kept: Path) -> None:
    def told(token: str) -> str:
        return dogfood(shop.path, "explain", token, "--run", str(kept)).stdout.partition("  in that run:")[2]

    assert "\n      buy: proved by its probe\n" in told("image")
    assert re.search(
        r"^      buy: provisioned by replaying log-in in \S+, \d+\.\d s$", told("session"), re.MULTILINE
    )


def test_what_was_no_item_of_that_run_is_said_to_be_none(shop: Inner, kept: Path) -> None:
    assert (
        "  in that run: it was not an item of it"
        in dogfood(shop.path, "explain", "log-in", "--run", str(kept)).stdout
    )


def test_a_directory_without_a_run_is_refused(shop: Inner, tmp_path: Path) -> None:
    done = dogfood(shop.path, "explain", "buy", "--run", str(tmp_path))
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"there is no run {tmp_path}" in done.stderr


def test_a_run_says_how_each_step_ended_and_where_its_output_is(shop: Inner, kept: Path) -> None:
    told = dogfood(shop.path, "explain", "shop.journey.yaml::buy", "--run", str(kept)).stdout
    assert re.search(r"^      step 1: exit 0, \d+\.\d\d s", told, re.MULTILINE)


def test_an_unknown_journey_is_answered_with_the_nearest(shop: Inner) -> None:
    done = dogfood(shop.path, "explain", "bye")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == "dogfood explain: no journey or token 'bye'; did you mean 'buy'?\n"


def test_a_token_is_explained_by_who_brings_it_what_shows_it_and_who_needs_it(shop: Inner) -> None:
    done = dogfood(shop.path, "explain", "image")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "image (token, scope machine; defined at shop.journey.yaml:3:3)",
        "  provisioned by its provision steps, once for the machine",
        '  probe: test -e "$DOGFOOD_SHARED/image"',
        "  needed by buy (shop.journey.yaml:10:10)",
    ]
    assert dogfood(shop.path, "explain", "order").stdout.splitlines() == [
        "order (token, scope chain; no file defines it)",
        "  established by buy; otherwise provisioned by replaying buy, in its chain's state",
        "  probe: none; it is taken on trust",
        "  needed by pay (shop.journey.yaml:11:10)",
    ]


MIXED = {
    "shop.journey.yaml": """
        capabilities:
          shop-up:
            requires: [account]
            probe: test -e "$DOGFOOD_STATE/shop"
            service: {run: sleep 60, ports: [http]}
        journeys:
          - {id: browse, requires: [shop-up], steps: [run: 'true']}
        """,
    "conftest.py": """
        import pytest
        import pytest_dogfood

        @pytest_dogfood.provides("prices")
        @pytest.fixture
        def price_list():
            return {}
    """,
    "test_shop.py": """
        import pytest

        @pytest.mark.establishes("account")
        def test_sign_up():
            pass

        class TestBuying:
            @pytest.mark.requires("account", "prices")
            @pytest.mark.parametrize("what", ["tea", "milk"])
            def test_buy(self, what):
                pass

        def test_plain():
            pass
    """,
}


@pytest.fixture(scope="module")
def mixed(inner: Make) -> Inner:
    return inner(MIXED)


def test_without_a_name_all_tokens_are_listed(mixed: Inner) -> None:
    done = dogfood(mixed.path, "explain")
    assert (done.returncode, done.stderr) == (0, "")
    buying = "test_shop.py::TestBuying::test_buy[tea], test_shop.py::TestBuying::test_buy[milk]"
    assert done.stdout.splitlines() == [
        "account (chain, no probe)",
        "  given by: test_shop.py::test_sign_up",
        f"  needed by: {buying}, the provider of shop-up",
        "shop-up (chain, probed)",
        "  given by: its service",
        "  needed by: browse",
        "  values: $DOGFOOD_SHOP_UP_HTTP",
        "prices (chain, no probe)",
        "  given by: fixture price_list",
        f"  needed by: {buying}",
    ]


def test_a_copyable_token_is_called_that(inner: Make) -> None:
    text = "capabilities: {logged-in: {copyable: true, provision: ['true']}}\nrequires: [logged-in]\nsteps: ['true']\n"
    project = inner({"a.journey.yaml": text}).path
    assert dogfood(project, "explain").stdout.splitlines()[0] == "logged-in (chain, no probe, copyable)"
    shown = dogfood(project, "explain", "logged-in").stdout.splitlines()
    assert "  copyable: a copy of its files is as good" in shown


def test_a_token_with_inputs_is_cached_or_the_reason_is_told(inner: Make) -> None:
    text = "  {name}: {{copyable: true, inputs: {{files: a}}, requires: [{needs}], provision: ['true']}}\n"
    project = inner({"dogfood.yaml": f"capabilities:\n{text.format(name='one', needs='')}"}).path
    cached = "  cached: a later run restores it, unless its inputs have changed"
    assert cached in dogfood(project, "explain", "one").stdout.splitlines()
    (project / "dogfood.yaml").write_text(
        f"capabilities:\n{text.format(name='one', needs='two')}  two: {{provision: ['true']}}\n"
    )
    assert "  not cached: 'two' is not copyable" in dogfood(project, "explain", "one").stdout.splitlines()


def test_a_project_without_tokens_is_told_so(inner: Make) -> None:
    done = dogfood(inner({"a.journey.yaml": "steps: ['true']\n"}).path, "explain")
    assert (done.returncode, done.stdout) == (0, "no tokens: nothing requires, establishes or defines one\n")


def test_a_token_is_explained_by_the_tests_that_give_it_and_the_capabilities_that_need_it(
    mixed: Inner,
) -> None:
    lines = dogfood(mixed.path, "explain", "account").stdout.splitlines()
    assert lines[0] == "account (token, scope chain; no file defines it)"
    assert (
        lines[1]
        == "  established by test_shop.py::test_sign_up, which runs first wherever the token is required"
    )
    assert lines[-1] == "  needed by the provider of shop-up (shop.journey.yaml:3:3)"


@pytest.mark.parametrize(
    "name, explained",
    [
        ("test_shop.py::test_sign_up", ["test_shop.py::test_sign_up"]),
        (
            "test_shop.py::TestBuying",
            ["test_shop.py::TestBuying::test_buy[tea]", "test_shop.py::TestBuying::test_buy[milk]"],
        ),
        ("test_shop.py::TestBuying::test_buy[milk]", ["test_shop.py::TestBuying::test_buy[milk]"]),
        ("shop.journey.yaml", ["browse"]),
        ("test_shop.py::test_plain", ["test_shop.py::test_plain: this test neither"]),
    ],
)
def test_a_node_id_is_explained_be_it_of_one_test_or_of_many(
    mixed: Inner, name: str, explained: list[str]
) -> None:
    done = dogfood(mixed.path, "explain", name)
    assert done.returncode == 0
    first = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert all(line.startswith(wanted) for line, wanted in zip(first, explained, strict=True))


def test_a_misspelt_node_id_is_answered_with_the_nearest(mixed: Inner) -> None:
    done = dogfood(mixed.path, "explain", "test_shop.py::test_signup")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.endswith("; did you mean 'test_shop.py::test_sign_up'?\n")


def test_what_resembles_nothing_is_answered_with_where_the_names_are_listed(mixed: Inner) -> None:
    assert "; dogfood explain lists the tokens, " in dogfood(mixed.path, "explain", "zzz").stderr


def test_files_are_explained_where_a_python_test_cannot_be_imported(inner: Make) -> None:
    done = dogfood(inner({**SHOP, "test_bad.py": "import nowhere"}).path, "explain", "buy")
    assert done.returncode == 0
    assert done.stdout.startswith("buy (shop.journey.yaml:10:10)\n")
    assert "dogfood explain: without Python tests, because they cannot be collected" in done.stderr


def test_a_test_that_others_depend_on_by_marks_is_not_listed_as_a_token(inner: Make) -> None:
    files = {
        "pytest.ini": "[pytest]\ndogfood_dependency_markers = true\n",
        "test_a.py": """
            import pytest

            @pytest.mark.dependency()
            def test_a():
                pass

            @pytest.mark.dependency(depends=["test_a"])
            def test_b():
                pass
        """,
    }
    assert dogfood(inner(files).path, "explain").stdout.startswith("no tokens: ")


POOLS = {
    "dogfood.yaml": """
        pools: {account: [shop-1, shop-2], gpu: 4}
        capabilities:
          printed: {lock: [printer], provision: [run: 'true'], probe: 'true'}
          made: {scope: machine}
        """,
    "shop.journey.yaml": """
        journeys:
          - id: make
            matrix: {value: [v0, v1]}
            lock: {gpu: 2}
            establishes: ["made:${value}"]
            steps: [run: 'true']
          - {id: use, requires: ["made:*", printed], lock: [account], steps: [run: 'true']}
        """,
}


@pytest.fixture(scope="module")
def pools(inner: Make) -> Inner:
    return inner(POOLS)


def test_the_id_of_a_matrix_explains_each_journey_of_it(pools: Inner) -> None:
    lines = dogfood(pools.path, "explain", "make").stdout.splitlines()
    assert [line for line in lines if line.startswith("make[")] == [
        "make[v0] (shop.journey.yaml:3:9)",
        "make[v1] (shop.journey.yaml:3:9)",
    ]


@pytest.mark.parametrize(
    "name, line",
    [
        ("make[v0]", "  locks 2 of gpu (pool of 4; dogfood.yaml:2:36)"),
        ("use", "  locks 1 of account (pool of 2: shop-1, shop-2; dogfood.yaml:2:9)"),
        ("printed", "  its provider locks printer (one holder at a time)"),
    ],
)
def test_locks_are_named_with_how_many_there_are(pools: Inner, name: str, line: str) -> None:
    assert line in dogfood(pools.path, "explain", name).stdout.splitlines()


def test_a_token_that_has_only_instances_is_listed_with_them(pools: Inner) -> None:
    lines = dogfood(pools.path, "explain").stdout.splitlines()
    assert lines[lines.index("made (machine, no probe)") + 1] == (
        "  given by: made:v0, an instance of it, made:v1, an instance of it"
    )


def test_without_a_name_a_finished_run_is_told_of_every_token_and_item(shop: Inner, kept: Path) -> None:
    lines = dogfood(shop.path, "explain", "--run", str(kept)).stdout.splitlines()
    of_session = lines[lines.index("session (chain, no probe)") :]
    assert of_session[3] == "  in that run:"
    items = lines[lines.index("the items of that run:") + 1 :]
    assert sorted(line.partition(", on")[0] for line in items) == [
        "  buy: passed",
        "  gate: passed",
        "  pay: passed",
    ]


def test_without_a_name_a_directory_without_a_run_is_refused(shop: Inner, tmp_path: Path) -> None:
    done = dogfood(shop.path, "explain", "--run", str(tmp_path))
    assert (done.returncode, done.stdout) == (4, "")
