"""Lines are added to files so that nothing else in them changes, and git takes the patch."""

from __future__ import annotations

import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_dogfood.doubt.edits import edit_for, marks_of
from pytest_dogfood.doubt.experiments.values import Code, Finding, Line
from pytest_dogfood.doubt.findings import Results, merged, to_lines
from pytest_dogfood.fileformat.parser import parse_journey_file
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, Journey, JourneyId, Token

PAY_NEEDS_CART = Line(JourneyId("pay"), "requires", Token("cart-filled"))


def project(root: Path, files: dict[str, str]) -> CapabilityGraph:
    journeys: list[Journey] = []
    for name, text in files.items():
        (root / name).write_bytes(text.encode())
        stem = name.removesuffix(".sh").removesuffix(".yaml").removesuffix(".json").removesuffix(".journey")
        read = parse_journey_file(text.encode(), path=name, stem=stem)
        assert read.diagnostics == ()
        journeys += read.journeys
    return CapabilityGraph(journeys)


STEPS = "    steps: [{run: 'true'}]\n"


@pytest.mark.parametrize(
    "before,after",
    [
        ("  - id: pay\n", "  - id: pay\n    requires: [cart-filled]\n"),
        ("  - id: pay  # money\n", "  - id: pay  # money\n    requires: [cart-filled]\n"),
        ("  - journey_id: pay\n", "  - journey_id: pay\n    requires: [cart-filled]\n"),
        (
            "  - id: pay\n    requires: [logged-in]\n",
            "  - id: pay\n    requires: [logged-in, cart-filled]\n",
        ),
        (
            "  - id: pay\n    requires: [ logged-in, b ]  # both\n",
            "  - id: pay\n    requires: [ logged-in, b, cart-filled ]  # both\n",
        ),
        ("  - id: pay\n    requires: []\n", "  - id: pay\n    requires: [cart-filled]\n"),
        ("  - id: pay\n    requires: logged-in\n", "  - id: pay\n    requires: [logged-in, cart-filled]\n"),
        (
            "  - id: pay\n    requires:\n      - logged-in  # first\n",
            "  - id: pay\n    requires:\n      - logged-in  # first\n      - cart-filled\n",
        ),
        (
            "  - id: pay\n    requires:\n    - logged-in\n",
            "  - id: pay\n    requires:\n    - logged-in\n    - cart-filled\n",
        ),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_token_is_added_as_the_list_is_written(
    tmp_path: Path, before: str, after: str, ending: str
) -> None:
    head = "# a shop\njourneys:\n  - id: look\n    steps: ['true']\n"
    old, new = (f"{head}{text}{STEPS}".replace("\n", ending) for text in (before, after))
    edit = edit_for([PAY_NEEDS_CART], project(tmp_path, {"shop.journey.yaml": old}), tmp_path)
    assert (edit.texts["shop.journey.yaml"][1], edit.by_hand) == (new, [])
    changed = next(
        n for n, (a, b) in enumerate(zip(old.split("\n"), new.split("\n"), strict=False), 1) if a != b
    )
    assert edit.places[PAY_NEEDS_CART] == changed


@pytest.mark.parametrize(
    "name,before,after",
    [
        (
            "pay.journey.yaml",
            "feature: money\nsteps: ['true']\n",
            "feature: money\nrequires: [cart-filled]\nsteps: ['true']\n",
        ),
        ("pay.journey.yaml", "requires: [a]\nsteps: ['true']", "requires: [a, cart-filled]\nsteps: ['true']"),
        (
            "shop.journey.json",
            '{"journeys": [{"id": "pay", "requires": ["a"], "steps": [{"run": "true"}]}]}\n',
            '{"journeys": [{"id": "pay", "requires": ["a", "cart-filled"], "steps": [{"run": "true"}]}]}\n',
        ),
        (
            "shop.journey.json",
            '{"journeys": [{"id": "pay", "steps": [{"run": "true"}]}]}\n',
            '{"journeys": [{"requires": ["cart-filled"], "id": "pay", "steps": [{"run": "true"}]}]}\n',
        ),
        (
            "pay.journey.sh",
            "#!/bin/sh\n# dogfood: requires: a\ntrue\n",
            "#!/bin/sh\n# dogfood: requires: a, cart-filled\ntrue\n",
        ),
        (
            "pay.journey.sh",
            "#!/bin/sh\n# dogfood: requires: [a]  # why\ntrue\n",
            "#!/bin/sh\n# dogfood: requires: [a, cart-filled]  # why\ntrue\n",
        ),
        (
            "pay.journey.sh",
            "#!/bin/sh\n#  dogfood: timeout: 9\n# more\ntrue\n",
            "#!/bin/sh\n#  dogfood: timeout: 9\n#  dogfood: requires: cart-filled\n# more\ntrue\n",
        ),
    ],
)
def test_every_kind_of_file_is_written(tmp_path: Path, name: str, before: str, after: str) -> None:
    edit = edit_for([PAY_NEEDS_CART], project(tmp_path, {name: before}), tmp_path)
    assert edit.texts[name] == (before, after)


def test_several_lines_make_one_patch_that_git_applies(tmp_path: Path) -> None:
    files = {
        "shop.journey.yaml": f"journeys:\n  - id: fill\n{STEPS}  - id: pay\n{STEPS.rstrip()}",
        "ship.journey.sh": "#!/bin/sh\n# dogfood: requires: paid\ntrue\n",
    }
    graph = project(tmp_path, files)
    lines = [
        Line(JourneyId("fill"), "establishes", Token("fill-done")),
        Line(JourneyId("pay"), "requires", Token("fill-done")),
        Line(JourneyId("ship"), "requires", Token("fill-done")),
    ]
    edit = edit_for(lines, graph, tmp_path)
    (tmp_path / "doubt.patch").write_text(edit.patch(), encoding="utf-8")
    subprocess.run(["git", "apply", "doubt.patch"], cwd=tmp_path, check=True)
    assert (tmp_path / "shop.journey.yaml").read_text(encoding="utf-8") == dedent(
        """\
        journeys:
          - id: fill
            establishes: [fill-done]
            steps: [{run: 'true'}]
          - id: pay
            requires: [fill-done]
            steps: [{run: 'true'}]"""
    )
    assert "# dogfood: requires: paid, fill-done\n" in (tmp_path / "ship.journey.sh").read_text("utf-8")


@pytest.mark.parametrize(
    "text",
    [
        # a list that another journey has too
        (
            "journeys:\n  - id: fill\n    requires: &both [a]\n    steps: ['true']\n"
            "  - id: pay\n    requires: *both\n    steps: ['true']\n"
        ),
        # a script without a header
        "#!/bin/sh\ntrue\n",
    ],
)
def test_what_cannot_be_written_safely_is_left_to_a_person(tmp_path: Path, text: str) -> None:
    name = "pay.journey.sh" if text.startswith("#!") else "shop.journey.yaml"
    edit = edit_for([PAY_NEEDS_CART], project(tmp_path, {name: text}), tmp_path)
    assert (edit.by_hand, edit.patch()) == ([PAY_NEEDS_CART], "")


MATRIX = """\
capabilities:
  db:
    probe: "true"
journeys:
  - id: fill
    matrix: {os: [linux, mac]}
    establishes: ["db:${os}"]
    steps: ['true']
  - id: pay
    matrix: {os: [linux, mac]}
    steps: ['true']
"""


def test_all_instances_of_a_matrix_get_one_line_with_the_name_of_the_value(tmp_path: Path) -> None:
    graph = project(tmp_path, {"shop.journey.yaml": MATRIX})
    fills = [one for one in graph.journeys if one.startswith("fill")]
    pays = [one for one in graph.journeys if one.startswith("pay")]
    findings = [
        Finding(
            code=Code.UNDECLARED_REQUIRES,
            chain=ChainId(fill),
            journey=pay,
            guilty=(fill,),
            lines=(Line(pay, "requires", token),),
        )
        for fill, pay in zip(fills, pays, strict=True)
        for token in graph.journeys[fill].establishes
    ]
    (finding,) = merged(findings, graph)
    assert (finding.journey, finding.also) == (pays[0], (pays[1],))
    edit = edit_for(finding.lines, graph, tmp_path)
    new = edit.texts["shop.journey.yaml"][1]
    assert new == MATRIX.replace("  - id: pay\n", '  - id: pay\n    requires: ["db:${os}"]\n')
    assert edit.by_hand == []
    said = list(to_lines(Results(graph=graph, findings=[finding], edit=edit)))
    assert "    add to pay: requires: [db:${os}]" in said
    assert f"    the same for {pays[1]}" in said


def test_python_tests_get_marks() -> None:
    test = JourneyId("test_shop.py::test_pay")
    line = Line(test, "requires", Token("cart-filled"))
    assert marks_of([line]) == {test: ['@pytest.mark.requires("cart-filled")']}
