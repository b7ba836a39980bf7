"""What Python tests of the graph print, raise and record shows no secret, wherever a report goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_dogfood.cli.main import main
from pytest_dogfood.session.test_reports import masked
from tests.behaviour.test_parts_and_ends import WITH_SUBTESTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.live_projects import Live
    from tests.support.run_results import Run

GIVEN = "the-Given/key&<5512>"
SAVED = "Zq9-secret-value"

LOG_IN = """
    journeys:
      - id: log-in
        establishes: [tok]
        steps:
          - run: 'echo id=Zq9-secret-""value'
            save: {sid: {stdout: 'id=(.*)', secret: true}}
"""
TESTS = """
    import json
    import logging
    import os
    import sys
    import unittest

    import pytest

    KEY = os.environ["API_KEY"]

    @pytest.fixture
    def sid(capabilities):
        return capabilities["tok"]["sid"]

    @pytest.fixture
    def broken(sid):
        raise RuntimeError(f"with {sid}")

    @pytest.fixture
    def leaky(sid):
        yield
        print("torn down with", sid)
        raise RuntimeError(f"after {sid}")

    requires = pytest.mark.requires("tok")

    @requires
    def test_compares(sid):
        assert sid == KEY

    @requires
    def test_prints(sid, capabilities):
        local = {"sid": sid}
        print("out", sid, json.dumps(KEY))
        print("err", sid, KEY, file=sys.stderr)
        logging.getLogger().warning("logged %s %s", sid, KEY)
        raise ValueError(sid) from KeyError(KEY)

    @requires
    def test_records(sid, record_property):
        record_property("sid", sid)
        record_property("all", {"deep": [sid, 7, None]})
        record_property("number", 7)
        record_property(sid, True)

    @requires
    def test_skips(sid):
        pytest.skip(f"not with {sid}")

    @requires
    @pytest.mark.xfail(reason=f"not with {KEY}")
    def test_is_expected_to_fail(sid):
        assert not sid

    @requires
    def test_cannot_be_set_up(broken):
        pass

    @requires
    def test_cannot_be_torn_down(leaky):
        pass

    @pytest.mark.requires("tok")
    class TestUnit(unittest.TestCase):
        def test_unit(self):
            self.assertEqual(KEY, 1)
"""
BROKEN = """
    import os
    print("importing with", os.environ["API_KEY"])
    raise ImportError(os.environ["API_KEY"])
"""


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def scene(request: pytest.FixtureRequest, new_live: Callable[[], Live]) -> tuple[Live, Run]:
    live = new_live().write("a.journey.yaml", LOG_IN).write("test_a.py", TESTS).write("test_b.py", BROKEN)
    live.write("pytest.ini", "[pytest]\ndogfood_secrets = API_KEY\n")
    arguments = ["-rA", "-l", "-vv", "--dogfood-shard=1/1", "--continue-on-collection-errors"]
    return live, live.run(request.param, *arguments, API_KEY=GIVEN)


def test_every_test_has_run(scene: tuple[Live, Run]) -> None:
    assert {name: case.kind for name, case in scene[1].cases.items() if name.startswith("test_")} == {
        "test_compares": "failure",
        "test_prints": "failure",
        "test_records": "passed",
        "test_skips": "skipped",
        "test_is_expected_to_fail": "skipped",
        "test_cannot_be_set_up": "error",
        "test_cannot_be_torn_down": "error",
        "test_unit": "failure",
        "test_b": "error",
    }


SECRETS = [GIVEN, GIVEN.replace("&<5512>", "&amp;&lt;5512&gt;"), SAVED]


@pytest.mark.parametrize("value", SECRETS)
def test_no_secret_is_on_the_terminal_in_junit_or_in_the_manifest(
    scene: tuple[Live, Run], value: str
) -> None:
    live, run = scene
    (junit,) = live.path.glob("junit*.xml")
    manifest = live.path / "dogfood-shard-1-of-1.json"
    assert [text.count(value) for text in (run.text, junit.read_text(), manifest.read_text())] == [0, 0, 0]


@pytest.mark.parametrize("value", SECRETS)
def test_no_secret_is_in_what_is_merged(
    scene: tuple[Live, Run], value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = scene[0].path / "dogfood-shard-1-of-1.json"
    junit, whole = tmp_path / "junit.xml", tmp_path / "whole.json"
    main(["merge", str(manifest), "--junit", str(junit), "--json", str(whole)])
    said = capsys.readouterr().out
    assert [text.count(value) for text in (said, junit.read_text(), whole.read_text())] == [0, 0, 0]


@pytest.mark.parametrize(
    "shown",
    [
        "AssertionError: assert '***' == '***'",
        'out *** "***"',
        "err *** ***",
        "logged *** ***",
        "ValueError: ***",
        "RuntimeError: with ***",
        "torn down with ***",
        "not with ***",
        "importing with ***",
        "FAILED test_a.py::test_prints - ValueError: ***",
    ],
)
def test_what_is_no_secret_is_shown(scene: tuple[Live, Run], shown: str) -> None:
    assert shown in scene[1].text


def test_properties_stay_what_they_are(scene: tuple[Live, Run]) -> None:
    manifest = json.loads((scene[0].path / "dogfood-shard-1-of-1.json").read_text())
    (item,) = [one for one in manifest["items"] if one["nodeid"].endswith("test_records")]
    recorded = [tuple(one) for one in item["properties"] if not one[0].startswith("dogfood.")]
    assert recorded == [
        ("sid", "***"),
        ("all", "{'deep': ['***', 7, None]}"),
        ("number", "7"),
        ("***", "True"),
    ]


PARTS = """
    import pytest

    @pytest.mark.requires("tok")
    def test_has_parts(subtests, capabilities):
        sid = capabilities["tok"]["sid"]
        with subtests.test(sid, sid=sid):
            print("within", sid)
            assert sid == 1
"""


@WITH_SUBTESTS
@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_no_secret_is_in_a_subtest(live: Live, workers: str) -> None:
    run = live.write("a.journey.yaml", LOG_IN).write("test_a.py", PARTS).run(workers, "-rA")
    assert "within ***" in run.text
    assert SAVED not in run.text
    assert SAVED not in (live.path / "junit1.xml").read_text()


def hide(text: str) -> str:
    return text.replace("5512", "***")


@pytest.mark.parametrize(
    "value, expected",
    [
        ("a 5512 b", "a *** b"),
        (5512, "***"),
        (7, 7),
        (None, None),
        (True, True),
        (["5512", ("5512", 1)], ["***", ("***", 1)]),
        ({"5512": {"k": "5512"}}, {"***": {"k": "***"}}),
        (Path("/a/5512"), "/a/***"),
        (Path("/a/b"), Path("/a/b")),
    ],
)
def test_what_a_test_records_keeps_its_type_unless_it_shows_a_secret(value: Any, expected: Any) -> None:
    assert masked(value, hide) == expected
