"""Text goes into the hub and comes back as it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given, strategies as st
from sqlalchemy.dialects import sqlite

from pytest_dogfood.consistency.hub.model import HubTask
from pytest_dogfood.consistency.hub.schema import LosslessText
from pytest_dogfood.consistency.hub.store import Hub
from tests.consistency.machines import World, codes, plan

DIALECT = sqlite.dialect()
ODD = "\uef00 \uef80 \uefff \uef00\uef81 \uef000000 \udc80 \udcff \ud800 \udfff \0 é 🎉"
LETTERS = st.characters(exclude_categories=()) | st.sampled_from([*ODD, "\uef00", "0", "A", "D8"])


@given(st.lists(LETTERS).map("".join))
@example(ODD)
def test_any_text_is_kept_in_letters_that_databases_take(text: str) -> None:
    kept = LosslessText().process_bind_param(text, DIALECT)
    assert kept is not None
    assert "\0" not in kept.encode("utf-8").decode()
    assert LosslessText().process_result_value(kept, DIALECT) == text


def test_text_without_odd_letters_is_kept_as_it_is() -> None:
    assert LosslessText().process_bind_param("workplans/é→🎉.md", DIALECT) == "workplans/é→🎉.md"


def test_both_databases_give_ids_back_and_tell_them_apart(hub: Hub, add_task: Callable[..., HubTask]) -> None:
    ids = {"T\uef81", "T\udc81", "T\uef00\uef81", "T\0", ODD}
    for task_id in ids:
        add_task(hub, task_id)
    assert {task.task_id for task in hub.tasks()} == ids
    assert all(hub.find_tasks(task_id)[0].task_id == task_id for task_id in ids)


@pytest.mark.parametrize("task_id", ["X-\uef81", "X-\uf8ff", "X-\uef00"])
def test_an_id_with_a_private_letter_is_taken_in_once(task_id: str, world: Callable[..., World]) -> None:
    desk = world(T1="todo").desk("here")
    desk.clone.commit(plan({task_id: "done"}), "workplans/\uef81-WP-2.md")
    assert [each.fixed for each in desk.fix().findings] == [True, True]
    assert codes(desk.fix()) == []
    assert desk.task(task_id).source_path == "workplans/\uef81-WP-2.md"
