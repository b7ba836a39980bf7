"""States that begin as copies of others: what they contain, how often tokens are provisioned, and what stays."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Scene

WORKERS = pytest.mark.parametrize("workers", ["-n0", "-n3"])


class Project:
    """Journeys that write their names into their state; each tells whose names it has found there, and its path."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._capabilities: list[str] = []
        self._journeys: list[str] = []

    def token(self, name: str, more: str = "copyable: true") -> None:
        self._capabilities.append(f"  {name}: {{{more}}}\n")

    def journey(
        self, name: str, *, needs: str = "", makes: str = "", run: str = "true", more: str = ""
    ) -> None:
        text = f"  - id: {name}\n"
        text += f"    requires: [{', '.join(needs.split())}]\n" if needs else ""
        text += f"    establishes: [{', '.join(makes.split())}]\n" if makes else ""
        text += f"    {more}\n" if more else ""
        text += (
            "    steps:\n      - run: |\n"
            f'          touch "$DOGFOOD_STATE/log"; tr "\\n" " " <"$DOGFOOD_STATE/log" >>"$DOGFOOD_ROOT/{name}.found"\n'
            f'          echo >>"$DOGFOOD_ROOT/{name}.found"\n'
            f'          echo {name} >>"$DOGFOOD_STATE/log"; echo {name} >>"$DOGFOOD_ROOT/ran"\n'
            f'          echo "$DOGFOOD_STATE" >>"$DOGFOOD_ROOT/{name}.state"\n'
            f"          {run}\n"
        )
        self._journeys.append(text)

    def write(self) -> None:
        capabilities = "".join(["capabilities:\n", *self._capabilities]) if self._capabilities else ""
        self._scene.write("pytest.ini", "[pytest]\n")
        (self._scene.path / "all.journey.yaml").write_text(
            f"{capabilities}journeys:\n{''.join(self._journeys)}"
        )

    def found(self, name: str) -> list[str]:
        """Return, for each time that a journey ran, the names that it found in its state."""
        return [line.strip() for line in self._scene.lines(f"{name}.found")]

    def ran(self, name: str) -> int:
        return self._scene.lines("ran").count(name)


@pytest.fixture
def project(scene: Scene) -> Project:
    return Project(scene)


def fan_out(project: Project, features: int = 4, **login: str) -> None:
    project.token("in")
    project.journey("login", makes="in", **login)
    for number in range(features):
        project.journey(f"feature-{number}", needs="in")
    project.write()


@WORKERS
def test_each_feature_begins_in_the_state_that_the_login_left(
    project: Project, scene: Scene, workers: str
) -> None:
    fan_out(project)
    run = scene.run(workers)
    assert run.closing_line.startswith("dogfood: 5 journeys = 5 passed;")
    assert [project.found(f"feature-{number}") for number in range(4)] == [["login"]] * 4
    assert project.ran("login") == 1
    assert "provisioned" not in run.text


@WORKERS
def test_a_login_that_was_not_selected_is_replayed_once_for_all(
    project: Project, scene: Scene, workers: str
) -> None:
    fan_out(project)
    run = scene.run(workers, "-k", "feature")
    assert run.closing_line.startswith("dogfood: 4 journeys = 4 passed;")
    assert [project.found(f"feature-{number}") for number in range(4)] == [["login"]] * 4
    assert project.ran("login") == 1
    assert run.text.count("provisioned in once by replaying login") == 1


def test_for_a_single_feature_the_login_is_replayed_in_its_own_state(project: Project, scene: Scene) -> None:
    fan_out(project)
    run = scene.run("-n0", "-k", "feature-2", "-v")
    assert run.closing_line.startswith("dogfood: 1 journey = 1 passed;")
    assert project.found("feature-2") == ["login"]
    assert "copied:" not in run.text


@WORKERS
def test_what_a_provider_gives_is_provisioned_once_for_parts_that_nothing_else_ties(
    project: Project, scene: Scene, workers: str
) -> None:
    project.token(
        "data",
        "copyable: true, provision: [{run: 'echo x >>$DOGFOOD_ROOT/provisioned; touch data'}], probe: test -f data",
    )
    for number in range(3):
        project.journey(f"part-{number}", needs="data", run="test -f $DOGFOOD_STATE/data")
    project.write()
    run = scene.run(workers)
    assert run.closing_line.startswith("dogfood: 3 journeys = 3 passed;")
    assert scene.lines("provisioned") == ["x"]


@WORKERS
def test_parts_that_need_different_providers_find_what_their_common_templates_hold(
    project: Project, scene: Scene, workers: str
) -> None:
    for token in ("data", "user"):
        provision = f"provision: [{{run: 'echo {token} >>$DOGFOOD_ROOT/provisioned; echo {token} >>log'}}]"
        project.token(token, f"copyable: true, {provision}")
    for name, needs in {"a": "data", "b": "data", "c": "data user", "d": "user data"}.items():
        project.journey(name, needs=needs)
    project.write()
    run = scene.run(workers)
    assert run.closing_line.startswith("dogfood: 4 journeys = 4 passed;")
    assert sorted(scene.lines("provisioned")) == ["data", "user"]
    assert [project.found(name) for name in "abcd"] == [["data"], ["data"], ["data user"], ["data user"]]


@WORKERS
def test_a_part_waits_for_what_its_template_needs_although_it_does_not_need_that_itself(
    project: Project, scene: Scene, workers: str
) -> None:
    project.token("image", "scope: machine")
    project.token("data", "copyable: true, requires: [image], provision: [{run: 'touch data'}]")
    project.token("in")
    project.journey("build", makes="image", run="sleep 1")
    project.journey("login", makes="in", needs="data")
    project.journey("uses-data", needs="in data")
    project.journey("uses-login", needs="in")
    project.write()
    run = scene.run(workers, "-k", "build or uses")
    assert run.closing_line.startswith("dogfood: 3 journeys = 3 passed;")
    assert (project.ran("build"), project.ran("login")) == (1, 1)


@WORKERS
def test_states_below_states_are_copied_level_by_level(project: Project, scene: Scene, workers: str) -> None:
    for token in ("a", "b0", "b1"):
        project.token(token)
    project.journey("root", makes="a")
    for one in range(2):
        project.journey(f"branch-{one}", needs="a", makes=f"b{one}")
        for two in range(2):
            project.journey(f"leaf-{one}{two}", needs=f"b{one}")
    project.write()
    run = scene.run(workers)
    assert run.closing_line.startswith("dogfood: 7 journeys = 7 passed;")
    for one in range(2):
        assert project.found(f"branch-{one}") == ["root"]
        for two in range(2):
            assert project.found(f"leaf-{one}{two}") == [f"root branch-{one}"]
    (scene.path / "ran").unlink()
    run = scene.run(workers, "-k", "leaf")
    assert run.closing_line.startswith("dogfood: 4 journeys = 4 passed;")
    assert [project.ran(name) for name in ("root", "branch-0", "branch-1")] == [1, 1, 1]
    assert project.found("leaf-01")[-1] == "root branch-0"


@WORKERS
def test_a_copy_is_made_before_the_state_itself_goes_on(project: Project, scene: Scene, workers: str) -> None:
    project.token("in")
    project.journey("login", makes="in fixed")
    project.journey("goes-on", needs="in fixed")
    project.journey("apart-1", needs="in")
    project.journey("apart-2", needs="in")
    project.write()
    assert scene.run(workers).closing_line.startswith("dogfood: 4 journeys = 4 passed;")
    for name in ("goes-on", "apart-1", "apart-2"):
        assert project.found(name) == ["login"]


def test_what_is_lost_in_a_state_behind_its_copies_says_nothing_of_these(
    project: Project, scene: Scene
) -> None:
    project.token("in")
    project.token("spoilt", "copyable: true, probe: test -f spoilt")
    project.journey("login", makes="in fixed")
    spoil = {"run": "touch $DOGFOOD_STATE/spoilt", "more": "invalidates: [fixed]"}
    project.journey("spoils", needs="in fixed", makes="spoilt", **spoil)
    project.journey("late", needs="in fixed spoilt")
    project.journey("apart-1", needs="spoilt")
    project.journey("apart-2", needs="spoilt")
    project.write()
    run = scene.run("-n0")
    assert run.closing_line.startswith("dogfood: 5 journeys = 5 passed;"), run.text
    assert project.found("late") == ["login spoils login"]
    assert "not copied" not in run.text


@WORKERS
def test_a_logout_ends_the_session_of_its_own_copy_only(project: Project, scene: Scene, workers: str) -> None:
    project.token("in", "copyable: true, probe: test -f session")
    project.journey("login", makes="in", run="touch $DOGFOOD_STATE/session")
    project.journey("logout", needs="in", run="rm $DOGFOOD_STATE/session", more="invalidates: [in]")
    for number in range(3):
        project.journey(f"feature-{number}", needs="in", run="test -f $DOGFOOD_STATE/session")
    project.write()
    run = scene.run(workers)
    assert run.closing_line.startswith("dogfood: 5 journeys = 5 passed;")
    assert project.ran("login") == 1


@WORKERS
def test_values_that_name_the_state_name_the_copy(project: Project, scene: Scene, workers: str) -> None:
    project.token("in")
    project.journey("login", makes="in")
    for number in range(2):
        project.journey(
            f"feature-{number}", needs="in", run='test "$DOGFOOD_IN_PLACE" = "$DOGFOOD_STATE/session"'
        )
    project.write()
    text = (scene.path / "all.journey.yaml").read_text()
    saved = 'echo "$DOGFOOD_STATE/session"\n        save: {place: {stdout: "(.+)"}}\n'
    (scene.path / "all.journey.yaml").write_text(
        text.replace("true\n  - id: feature-0", f"{saved}  - id: feature-0")
    )
    assert scene.run(workers).closing_line.startswith("dogfood: 3 journeys = 3 passed;")


@WORKERS
def test_what_cannot_be_copied_is_provisioned_anew_and_the_summary_says_what_that_cost(
    project: Project, scene: Scene, workers: str
) -> None:
    fan_out(project, features=2, run='mkfifo "$DOGFOOD_STATE/pipe"')
    run = scene.run(workers)
    assert run.closing_line.startswith("dogfood: 3 journeys = 3 passed;")
    assert [project.found(f"feature-{number}") for number in range(2)] == [["login"]] * 2
    assert project.ran("login") == 3
    assert "not copied: the state of login: pipe: it is a FIFO" in run.text
    assert "provisioned anew for 2 items" in run.text


def test_an_error_for_want_of_a_copy_names_what_prevented_it(project: Project, scene: Scene) -> None:
    project.token("in")
    for number in range(2):
        project.journey(f"feature-{number}", needs="in")
    project.write()
    scene.write(
        "test_login.py",
        """
        import os, pytest

        @pytest.mark.establishes("in")
        def test_login(dogfood_state):
            os.mkfifo(dogfood_state / "pipe")
        """,
    )
    run = scene.run("-n0")
    assert run.closing_line.startswith("dogfood: 2 journeys and 1 test = 1 passed + 2 errors;")
    assert run.text.count("note: not copied: the state of test_login.py::test_login: pipe: it is a FIFO") == 2


def test_the_state_of_a_failed_replay_is_kept_as_the_error_says(project: Project, scene: Scene) -> None:
    project.token("in")
    project.token("more")
    project.journey("login", makes="in", run="false")
    project.journey("feature-0", needs="in", makes="more")
    project.journey("feature-1", needs="in")
    project.journey("behind", needs="more")
    project.write()
    run = scene.run("-n0", "-k", "behind")
    assert run.closing_line.startswith("dogfood: 1 journey = 1 deferred")
    (kept,) = re.findall(r"(/\S+) \(state\)", run.text)
    assert Path(kept).is_dir()


def test_a_state_that_goes_on_and_cannot_be_copied_is_named(project: Project, scene: Scene) -> None:
    project.token("in")
    project.journey("login", makes="in fixed", run='mkfifo "$DOGFOOD_STATE/pipe"')
    project.journey("goes-on", needs="in fixed")
    project.journey("apart-1", needs="in")
    project.journey("apart-2", needs="in")
    project.write()
    run = scene.run("-n0")
    assert run.closing_line.startswith("dogfood: 4 journeys = 4 passed;")
    assert project.ran("login") == 3
    assert "not copied: the state of login: pipe: it is a FIFO" in run.text


def test_a_copy_that_is_not_as_good_is_provisioned_anew_and_named(project: Project, scene: Scene) -> None:
    project.token("in", 'copyable: true, probe: \'test "$(cat inode)" = "$(stat -c %i .)"\'')
    project.journey("login", makes="in", run='stat -c %i "$DOGFOOD_STATE" >"$DOGFOOD_STATE/inode"')
    project.journey("feature-0", needs="in")
    project.journey("feature-1", needs="in")
    project.write()
    run = scene.run("-n0")
    assert run.closing_line.startswith("dogfood: 3 journeys = 3 passed;")
    assert "'in' was present there, but not in the copy [copy-not-as-good]" in run.text


@WORKERS
def test_a_login_that_fails_defers_every_feature_and_is_not_tried_again(
    project: Project, scene: Scene, workers: str
) -> None:
    fan_out(project, run="false")
    run = scene.run(workers)
    assert run.closing_line.startswith("dogfood: 5 journeys = 1 failed + 4 deferred (1 cause);")
    (scene.path / "ran").unlink()
    run = scene.run(workers, "-k", "feature")
    assert run.closing_line.startswith("dogfood: 4 journeys = 4 deferred (1 cause);")
    assert project.ran("login") == 1


@WORKERS
def test_a_provider_that_fails_is_not_tried_again_in_each_part(
    project: Project, scene: Scene, workers: str
) -> None:
    project.token("data", "copyable: true, provision: [{run: 'echo x >>$DOGFOOD_ROOT/provisioned; exit 3'}]")
    for number in range(3):
        project.journey(f"part-{number}", needs="data")
    project.write()
    run = scene.run(workers)
    assert run.closing_line.startswith("dogfood: 3 journeys = 3 errors;")
    assert scene.lines("provisioned") == ["x"]


def test_a_rerun_begins_in_a_clean_copy(project: Project, scene: Scene) -> None:
    project.token("in")
    project.journey("login", makes="in")
    project.journey("flaky", needs="in", makes="done", run='test "$(grep -c flaky "$DOGFOOD_ROOT/ran")" = 2')
    project.journey("after", needs="done")
    project.journey("other", needs="in")
    project.write()
    run = scene.run("-n0", "--reruns", "1")
    assert run.closing_line.startswith("dogfood: 4 journeys = 4 passed;")
    assert project.found("flaky") == ["login", "login"]
    assert project.found("after") == ["login flaky"]
    assert project.ran("login") == 1


def test_a_rerun_of_the_first_journey_begins_in_an_empty_state(project: Project, scene: Scene) -> None:
    fan_out(project, features=2, run='test "$(grep -c login "$DOGFOOD_ROOT/ran")" = 2')
    run = scene.run("-n0", "--reruns", "1")
    assert run.closing_line.startswith("dogfood: 3 journeys = 3 passed;")
    assert project.found("login") == ["", ""]
    assert project.found("feature-1") == ["login"]


def test_without_a_copyable_token_a_rerun_goes_on_in_the_state(project: Project, scene: Scene) -> None:
    project.journey("login", makes="in")
    project.journey("flaky", needs="in", run='test "$(grep -c flaky "$DOGFOOD_ROOT/ran")" = 2')
    project.write()
    assert scene.run("-n0", "--reruns", "1").closing_line.startswith("dogfood: 2 journeys = 2 passed;")
    assert project.found("flaky") == ["login", "login flaky"]


def test_a_rerun_keeps_what_only_a_test_of_its_part_could_make(project: Project, scene: Scene) -> None:
    project.token("in")
    project.journey("login", makes="in")
    project.journey("other", needs="in")
    project.write()
    scene.write(
        "test_shop.py",
        """
        import pytest
        tries = []

        @pytest.mark.requires("in")
        @pytest.mark.establishes("filled")
        def test_fill(dogfood_state):
            (dogfood_state / "basket").touch()

        @pytest.mark.requires("filled")
        def test_flaky(dogfood_state):
            tries.append(1)
            assert len(tries) == 2
            assert (dogfood_state / "basket").exists()

        @pytest.mark.requires("filled")
        def test_pay(dogfood_state):
            assert (dogfood_state / "basket").exists()
        """,
    )
    run = scene.run("-n0", "--reruns", "1")
    assert run.closing_line.startswith("dogfood: 2 journeys and 3 tests = 5 passed;")


def test_after_a_crash_a_part_begins_as_a_new_copy(project: Project, scene: Scene) -> None:
    project.token("in")
    project.journey("login", makes="in")
    project.journey("crashes", needs="in", makes="half", run='kill -9 "$PPID"')
    project.journey("fills", needs="in", makes="full", more="estimate: 0.1")
    project.journey("pays", needs="full")
    project.write()
    run = scene.run("-n2")
    assert run.cases["crashes"].kind == "error"
    assert run.cases["pays"].kind == "passed"
    assert project.found("pays") == ["login fills"]
    assert project.ran("login") == 1


def states_left(scene: Scene) -> list[str]:
    """Return the names of the states that the kept run has left."""
    runs = [path.parent for path in Path(scene.state_root).glob("*/run.json")]
    return sorted(
        path.name for run in runs for path in run.iterdir() if path.name[0] in "ct" and path.name[1].isdigit()
    )


@WORKERS
def test_a_state_is_removed_when_all_that_begins_with_it_has_ended(
    project: Project, scene: Scene, workers: str
) -> None:
    project.token("in")
    project.journey("login", makes="in")
    for number in range(3):
        project.journey(f"feature-{number}", needs="in")
    project.journey("last", run='ls "$DOGFOOD_STATE/.." >"$DOGFOOD_ROOT/left"', more="gating: false")
    project.write()
    text = (scene.path / "all.journey.yaml").read_text()
    for name in ("login", "feature-0", "feature-1", "feature-2"):
        text = text.replace(f"id: {name}\n", f"id: {name}\n    tier: smoke\n    gating: true\n")
    (scene.path / "all.journey.yaml").write_text(text)
    assert scene.run(workers).closing_line.startswith("dogfood: 5 journeys = 5 passed;")
    left = [name for name in scene.lines("left") if re.match(r"[ct]\d", name)]
    assert len(left) == 1  # its own


def test_the_states_of_five_failed_parts_are_kept_and_no_more(project: Project, scene: Scene) -> None:
    project.token("in")
    project.journey("login", makes="in")
    for number in range(7):
        project.journey(f"feature-{number}", needs="in", run="false")
    project.write()
    run = scene.run("-n2")
    assert run.closing_line.startswith("dogfood: 8 journeys = 1 passed + 7 failed;")
    assert len(states_left(scene)) == 5
    assert run.text.count("5 states of other failed items are kept already (--dogfood-keep keeps all)") == 2
    scene.run("-n2", "--dogfood-keep")
    assert len(states_left(scene)) > 10


def test_a_process_that_the_login_left_prevents_copies_from_when_it_uses_the_state(
    project: Project, scene: Scene
) -> None:
    begin, begun = "$DOGFOOD_ROOT/begin", "$DOGFOOD_ROOT/begun"
    until_begin, until_begun = (f"until test -e {one}; do sleep 0.02; done" for one in (begin, begun))
    uses = f"(cd /; {until_begin}; exec 3>>$DOGFOOD_STATE/used; touch {begun}; sleep 300) >/dev/null 2>&1 &"
    project.token("in")
    project.journey("login", makes="in", run=uses, more="leaves: daemon")
    project.journey("a-feature", needs="in", run=f"touch {begin}; {until_begun}")
    project.journey("b-feature", needs="in")
    project.write()
    run = scene.run("-n0", "-v")
    assert run.closing_line.startswith("dogfood: 3 journeys = 3 passed;")
    assert re.search(r"used: it is in use by \w+ \(\d+\)", run.text)
    assert project.found("a-feature") == project.found("b-feature") == ["login"]
    assert project.ran("login") == 2
