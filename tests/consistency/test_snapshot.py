"""Snapshots: what was seen becomes checks with names, and is the same in another process."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, strategies as st

from pytest_dogfood.consistency.pytest_plugin import Check, Snapshot, checks_of
from pytest_dogfood.consistency.task_findings import Finding, FindingSeverity


def finding(**others: str) -> Finding:
    return Finding(code="C-11", severity=FindingSeverity.FAIL, repo="shop", message="…", **others)  # type: ignore[arg-type]


def names(found: Sequence[Check]) -> list[str]:
    return [check.name for check in found]


def test_what_concerns_no_task_is_a_check_of_its_file_or_of_the_repository() -> None:
    found = [finding(task_id="T1", path="a.md"), finding(path="a.md"), finding()]
    checks = list(checks_of("shop", "/shop", ["T1", "T2"], found, alone=True))
    assert names(checks) == ["repository", "T1", "T2", "a.md"]
    assert [len(check.findings) for check in checks] == [1, 1, 0, 1]


def test_two_checkouts_of_one_repository_have_ids_of_their_own() -> None:
    groups = [next(checks_of("shop", path, [], [], alone=False)).group for path in ("/a", "/b")]
    assert groups == ["shop@/a", "shop@/b"]


@given(st.text(alphabet=st.characters(codec=None), max_size=20), st.text(max_size=20))
def test_a_snapshot_comes_back_whole_from_another_process(name: str, error: str) -> None:
    checks = tuple(checks_of("shop", name, [name], [finding(task_id=name, path=name)], alone=False))
    snapshot = Snapshot(checks=checks, error=error)
    assert Snapshot.from_json(snapshot.to_json().encode("ascii").decode()) == snapshot
    assert all((check.group + check.name).isprintable() for check in checks)
