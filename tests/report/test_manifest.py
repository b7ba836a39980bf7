"""A manifest says the same after it was written and read, and one that was tampered with is refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.report import manifest as module
from pytest_dogfood.report.manifest import Manifest, manifest_name, read_manifest
from pytest_dogfood.settings import Shard
from tests.support.manifests import expected, ran, runs

PLAN = expected(a=1, b=2)
MADE = ran(1, PLAN, {"a": Outcome.FAILED}, replayed={"b": Outcome.PASSED}, gates="b", text="\x00 <&>")


@settings(max_examples=100, deadline=None)
@given(runs())
def test_what_is_read_is_what_was_written(manifests: list[Manifest]) -> None:
    assert [Manifest.from_json(one.to_json()) for one in manifests] == manifests


@settings(max_examples=100, deadline=None)
@given(runs())
def test_all_shards_of_a_run_have_one_digest(manifests: list[Manifest]) -> None:
    assert len({one.digest for one in manifests}) == 1


def test_the_digest_does_not_go_by_the_order_of_items() -> None:
    backwards = replace(PLAN, shards=dict(sorted(PLAN.shards.items(), reverse=True)))
    assert replace(MADE, expected=backwards).digest == MADE.digest


@pytest.mark.parametrize(
    "other",
    [
        replace(MADE, shard=Shard(1, 3)),
        replace(MADE, expected=expected(a=2, b=1)),
        replace(MADE, expected=expected(a=1)),
        replace(MADE, expected=replace(PLAN, journeys={})),
        replace(MADE, expected=replace(PLAN, graph="another")),
    ],
)
def test_the_digest_tells_plans_apart(other: Manifest) -> None:
    assert other.digest != MADE.digest


def test_the_file_says_its_digest_and_version() -> None:
    content = json.loads(MADE.to_json())
    assert (content["digest"], content["version"]) == (MADE.digest, module.VERSION)


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(MADE.to_json()), **fields}).encode()


ITEM = {"nodeid": "a", "outcome": "passed"}


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "truncated"),
        (b"<xml/>", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b"[]", "Expected `object`"),
        (b'"\xff"', "no manifest"),
        (b'{"version":' + b"[" * 100_000, "no manifest"),
        (b"{}", "missing required field `shard`"),
        (changed(version=module.VERSION + 1), "newer version of pytest-dogfood"),
        (changed(version="one"), "Expected `int`"),
        (changed(items={}), "Expected `array`"),
        (changed(items=[{**ITEM, "outcome": "great"}]), "Invalid enum value 'great'"),
        (changed(items=[{**ITEM, "seconds": float("nan")}]), "malformed"),
        (changed(items=[{**ITEM, "seconds": -1}]), "-1 seconds for a"),
        (changed(items=[{**ITEM, "seconds": "long"}]), "Expected `float`"),
        (changed(shard={"index": 9, "total": 2}), "9/2"),
        (changed(shard={"index": 1, "total": 10**12}), "N is at most"),
        (changed(expected={"shards": {"a": 3}, "journeys": {}}), "names shard 3 of 2"),
    ],
)
def test_what_is_no_manifest_is_refused_in_words(content: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Manifest.from_json(content)


def test_a_file_that_has_no_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 2**20)
    with pytest.raises(ValueError, match="more than 1 MiB"):
        read_manifest(Path("/dev/zero"))


def test_fields_of_a_later_version_that_can_be_ignored_are_ignored() -> None:
    assert Manifest.from_json(changed(weather="fine")) == MADE


def test_the_name_of_the_file_tells_the_shard() -> None:
    assert manifest_name(Shard(2, 4)) == "dogfood-shard-2-of-4.json"
