"""Git never asks, never hangs, leaves nothing alive, and acts on the repository it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.watcher import alive
from pytest_dogfood.git.command import Git, GitError, Limits
from tests.support.checkouts import QUICK, Farm
from tests.support.waiting import until

HURRY = Limits(fetch=0.5, commit=0.5, other=20, grace=0.3)


def shown(git: Git, *names: str) -> list[str]:
    """Let git run an alias that prints its environment."""
    script = "!printf '%s;' " + " ".join(f'"${{{name}-unset}}"' for name in names)
    return git.value("-c", f"alias.shown={script}", "shown").split(";")[:-1]


def test_the_environment_forbids_every_question(farm: Farm) -> None:
    git = Git(farm.root, environment={**farm.environment, "GIT_TERMINAL_PROMPT": "1", "SSH_ASKPASS": "ask"})
    names = (
        "GIT_TERMINAL_PROMPT",
        "GCM_INTERACTIVE",
        "SSH_ASKPASS_REQUIRE",
        "GIT_EDITOR",
        "GIT_PAGER",
        "LC_ALL",
    )
    assert shown(git, *names) == ["0", "never", "never", ":", "cat", "C"]
    assert shown(git, "SSH_ASKPASS", "GIT_ASKPASS") == ["unset", "unset"]


def test_a_helper_that_answers_for_the_user_is_kept(farm: Farm) -> None:
    assert shown(Git(farm.root, environment={**farm.environment, "GIT_ASKPASS": "mine"}), "GIT_ASKPASS") == [
        "mine"
    ]


def test_only_what_reads_does_without_optional_locks(farm: Farm) -> None:
    git = Git(farm.root, environment=farm.environment)
    alias = ("-c", 'alias.shown=!echo "${GIT_OPTIONAL_LOCKS-unset}"', "shown")
    assert (git.read(*alias).text, git.write(*alias).text) == ("0", "unset")


def test_variables_of_another_repository_are_dropped(farm: Farm) -> None:
    here, other = farm.checkout("here"), farm.checkout("other")
    misled = {
        **farm.environment,
        "GIT_DIR": str(other.path / ".git"),
        "GIT_WORK_TREE": str(other.path),
        "GIT_INDEX_FILE": "/nowhere",
        "GIT_CONFIG_COUNT": "not a number",
        "GIT_CONFIG_PARAMETERS": "'core.bare=true'",
        "GIT_GLOB_PATHSPECS": "1",
    }
    git = Git(here.path, environment=misled)
    assert git.value("--literal-pathspecs", "rev-parse", "--show-toplevel") == str(here.path)


def test_standard_input_is_what_is_given_and_otherwise_empty(farm: Farm) -> None:
    git = Git(farm.root, environment=farm.environment)
    assert git.read("hash-object", "--stdin").text == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert git.read("-c", "alias.cat=!cat", "cat", stdin=b"a\0b").records == ("a",)


@pytest.mark.parametrize("variable", ["GIT_SSH_COMMAND", "GIT_SSH"])
def test_an_ssh_that_the_user_names_is_kept(farm: Farm, variable: str) -> None:
    git = Git(farm.checkout().path, environment={**farm.environment, variable: "mine"})
    answer = git.call_remote("-c", f'alias.shown=!echo "${variable}"', "shown", limit=20)
    assert answer.text == "mine"


def test_an_ssh_of_nobody_s_choice_does_not_ask(farm: Farm) -> None:
    git = Git(farm.checkout().path, environment=farm.environment)
    answer = git.call_remote("-c", 'alias.shown=!echo "$GIT_SSH_COMMAND"', "shown", limit=14.2)
    assert answer.text == "ssh -oBatchMode=yes -oConnectTimeout=15"


def test_an_ssh_that_the_repository_names_is_kept(farm: Farm) -> None:
    here = farm.checkout()
    here.git("config", "core.sshCommand", "mine")
    git = Git(here.path, environment=farm.environment)
    answer = git.call_remote("-c", 'alias.shown=!echo "${GIT_SSH_COMMAND-unset}"', "shown", limit=20)
    assert answer.text == "unset"


def test_at_the_time_limit_nothing_of_it_is_left_alive(farm: Farm) -> None:
    stubborn = "trap '' TERM; (setsid sh -c 'trap \"\" TERM; echo $$ >child; sleep 300') & echo $$ >parent; sleep 300"
    git = Git(farm.root, environment=farm.environment, limits=HURRY)
    answer = git.call_remote("-c", f"alias.hang=!{stubborn}", "hang", limit=HURRY.fetch)
    assert (answer.ok, answer.timed_out) == (False, True)
    assert "time limit" in answer.error_text()
    written = [farm.root / "child", farm.root / "parent"]
    assert until(lambda: all(path.exists() and path.read_text().endswith("\n") for path in written))
    assert [alive(int(path.read_text()), None) for path in written] == [False, False]


def test_a_git_that_is_asked_to_end_removes_its_locks(farm: Farm) -> None:
    here = farm.checkout()
    here.commit("x")
    here.write("y")
    here.hook("pre-commit", "sleep 300")
    git = Git(here.path, environment=farm.environment, limits=QUICK)
    answer = git.write("commit", "--only", "-qm", "x", "--", ".", limit=0.7)
    assert answer.timed_out
    assert list((here.path / ".git").glob("*.lock")) == []


def test_what_git_has_to_know_it_must_answer(farm: Farm) -> None:
    git = Git(farm.root, environment=farm.environment)
    with pytest.raises(GitError, match=r"git rev-parse failed in .*: fatal: "):
        git.value("rev-parse", "--git-dir")


def test_absent_and_failed_are_two_things(farm: Farm) -> None:
    git = Git(farm.checkout().path, environment=farm.environment)
    assert git.optional("symbolic-ref", "--quiet", "refs/heads/none") is None
    with pytest.raises(GitError):
        git.optional("symbolic-ref", "--no-such-option")


def test_a_machine_without_git_says_so(farm: Farm) -> None:
    with pytest.raises(HarnessError, match="cannot start 'git'"):
        Git(farm.root, environment={**farm.environment, "PATH": str(farm.root)})


def test_the_last_lines_are_what_is_quoted(farm: Farm) -> None:
    git = Git(farm.root, environment=farm.environment)
    answer = git.read("-c", "alias.talk=!seq 30 >&2; false", "talk")
    assert answer.error_text() == "\n".join(str(number) for number in range(11, 31))


def test_where_git_says_nothing_its_status_is_quoted(farm: Farm) -> None:
    answer = Git(farm.root, environment=farm.environment).read("-c", "alias.no=!exit 3", "no")
    assert answer.error_text() == "git ended with status 3"


def test_no_output_of_git_stays_on_the_disk(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    place = farm.root / "tmp"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    Git(farm.root, environment=farm.environment).read("version")
    assert list(place.iterdir()) == []


def test_a_full_disk_is_the_harness_s_problem(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(Path("/nowhere")))
    with pytest.raises(HarnessError, match="cannot keep the output of git"):
        Git(farm.root, environment=farm.environment)
