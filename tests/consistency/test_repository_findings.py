from __future__ import annotations

import pytest

from pytest_dogfood.consistency.repository_findings import file_finding, repo_finding
from pytest_dogfood.git.tracked_file import FileState
from pytest_dogfood.git.work_tree import RepoCondition, RepoState

MEASURED = [
    RepoCondition.measured(ahead=ahead, behind=behind) for ahead, behind in [(0, 0), (2, 0), (0, 3), (2, 3)]
]
REBASE_BEHIND = RepoCondition(state=RepoState.IN_OPERATION, behind=1, detail="a rebase")


def condition(state: RepoState) -> RepoCondition:
    return RepoCondition(state=state)


@pytest.mark.parametrize(
    "known, hub, file, in_fix, in_check",
    [
        (MEASURED[0], True, True, None, None),
        (MEASURED[1], True, True, None, None),
        (MEASURED[2], False, False, "C-14 WARN", "C-14 INFO"),
        (MEASURED[3], False, False, "C-14 WARN", "C-14 INFO"),
        (condition(RepoState.NO_UPSTREAM), True, True, None, None),
        (condition(RepoState.DETACHED), True, False, "C-32 WARN", "C-32 INFO"),
        (condition(RepoState.UNBORN), True, False, "C-32 WARN", None),
        (condition(RepoState.IN_OPERATION), False, False, "C-32 WARN", "C-32 INFO"),
        (REBASE_BEHIND, False, False, "C-32 WARN", "C-32 INFO"),
        (condition(RepoState.NOT_A_WORK_TREE), True, False, "C-31 WARN", "C-31 INFO"),
        (condition(RepoState.GIT_UNUSABLE), False, False, "C-31 WARN", "C-31 WARN"),
        (condition(RepoState.PATH_MISSING), False, False, "C-30 FAIL", "C-30 FAIL"),
        (condition(RepoState.NOT_HERE), False, False, "C-30 INFO", "C-30 INFO"),
    ],
)
def test_each_state_allows_its_writes_and_has_its_item_when_a_file_is_to_follow(
    known: RepoCondition,
    hub: bool,  # noqa: FBT001
    file: bool,  # noqa: FBT001
    in_fix: str | None,
    in_check: str | None,
) -> None:
    assert (known.writes_hub, known.writes_file) == (hub, file)
    for fixing, expected in [(True, in_fix), (False, in_check)]:
        found = repo_finding(known, "atlas", fixing=fixing, writeback_due=True)
        assert (f"{found.code} {found.severity}" if found else None) == expected


@pytest.mark.parametrize("state", [RepoState.DETACHED, RepoState.UNBORN])
def test_without_a_branch_there_is_nothing_to_say_while_no_file_is_to_follow(state: RepoState) -> None:
    assert repo_finding(condition(state), "atlas", fixing=True) is None


@pytest.mark.parametrize(
    "known, reason, hint",
    [(MEASURED[2], "behind", "git pull --ff-only"), (MEASURED[3], "diverged", "git pull --rebase")],
)
def test_the_text_about_a_repository_that_is_behind_is_exact(
    known: RepoCondition, reason: str, hint: str
) -> None:
    found = repo_finding(known, "atlas", fixing=True)
    assert found is not None
    assert found.message == (
        "Repo 'atlas' is behind remote — pull before fixing to avoid clobbering remote progress"
    )
    assert (found.reason, found.hint) == (reason, hint)


def test_a_repository_that_was_named_must_be_on_this_machine() -> None:
    found = repo_finding(condition(RepoState.NOT_HERE), "atlas", fixing=False, named=True)
    assert found is not None
    assert f"{found.code} {found.severity}" == "C-30 FAIL"


def test_the_operation_in_progress_is_named() -> None:
    found = repo_finding(REBASE_BEHIND, "atlas", fixing=True)
    assert found is not None
    assert found.message.startswith("a rebase is in progress")
    assert REBASE_BEHIND.is_behind


@pytest.mark.parametrize(
    "state",
    [
        FileState.MODIFIED,
        FileState.STAGED,
        FileState.UNTRACKED,
        FileState.IGNORED,
        FileState.CONFLICTED,
        FileState.HIDDEN,
    ],
)
def test_a_dirty_workplan_has_its_exact_text(state: FileState) -> None:
    found = file_finding(state, "atlas", "a plan.md", fixing=True)
    assert found is not None
    assert (found.code, found.severity.value, found.reason) == ("C-14", "WARN", "dirty")
    assert found.message == "workplan has uncommitted changes — skipping writeback"


@pytest.mark.parametrize("state", [FileState.SYMLINK, FileState.NOT_A_FILE, FileState.FOREIGN])
def test_what_is_no_file_of_this_repository_is_not_written(state: FileState) -> None:
    found = file_finding(state, "atlas", "plan.md", fixing=True)
    assert found is not None
    assert (found.code, found.severity.value, found.reason) == ("C-33", "WARN", state.value)


def test_a_clean_workplan_has_no_item_and_check_only_informs() -> None:
    assert file_finding(FileState.CLEAN, "atlas", "plan.md", fixing=True) is None
    found = file_finding(FileState.MODIFIED, "atlas", "plan.md", fixing=False)
    assert found is not None
    assert found.severity.value == "INFO"


def test_a_hint_can_be_pasted_into_a_shell() -> None:
    found = file_finding(FileState.UNTRACKED, "atlas", "-a plan's.md", fixing=True)
    assert found is not None
    assert found.hint.endswith("""git add -- '-a plan'"'"'s.md'""")


@pytest.mark.parametrize("state", RepoState)
def test_whatever_else_is_true_a_checkout_that_is_behind_writes_nothing(state: RepoState) -> None:
    known = RepoCondition(state=state, behind=1)
    assert (known.is_behind, known.writes_hub, known.writes_file) == (True, False, False)
