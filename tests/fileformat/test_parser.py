from __future__ import annotations

import json
from textwrap import dedent
from typing import Any

import pytest

from pytest_dogfood.diagnostics import Location, Severity
from pytest_dogfood.fileformat.parser import (
    Defaults,
    ParsedFile,
    parse_journey_file,
    parse_settings_file,
    parse_settings_section,
)
from pytest_dogfood.journey import Journey, Pool, Save, Step, StreamExpectation, Tier

PATH = "sub/shop.journey.yaml"

TAGS = r"""
feature: local tags                       # optional
defaults: {env: {APP_HOME: "$DOGFOOD_STATE/app"}, timeout: 60}
capabilities:
  local-tag-created:
    description: a locally built image tag exists
    scope: chain
    requires: []
    probe: test -f "$DOGFOOD_STATE/tags/demo"
    provision:
      - run: mkdir -p "$DOGFOOD_STATE/tags" && touch "$DOGFOOD_STATE/tags/demo"
    release:
      - run: rm -f "$DOGFOOD_STATE/tags/demo"
  web-up:
    scope: machine
    service:
      run: exec python3 -m http.server "$DOGFOOD_WEB_UP_PORT" --bind 127.0.0.1
      ports: [port]
    probe: curl -fs "http://127.0.0.1:$DOGFOOD_WEB_UP_PORT/"
journeys:
  - id: build-local-tag
    rationale: README promises that build tags the image
    source: {kind: readme, ref: "README.md#build"}
    tier: smoke
    gating: true
    establishes: [local-tag-created]
    steps:
      - intent: build and tag the image
        run: mkdir -p "$DOGFOOD_STATE/tags" && echo demo | tee "$DOGFOOD_STATE/tags/demo"
        expect: {stdout: {contains: demo}}
        save: {tag: {stdout: "(\\w+)"}}
      - run: test "$tag" = demo
  - id: run-built-local-tag
    requires: [local-tag-created]
    marks: [slow]
    steps:
      - run: cat "$DOGFOOD_STATE/tags/$DOGFOOD_LOCAL_TAG_CREATED_TAG"
        expect: {stdout: {equals: "demo\n"}}
"""


def parse(text: str, **others: Any) -> ParsedFile:
    return parse_journey_file(dedent(text).encode(), path=PATH, stem="shop", **others)


def journeys_of(text: str, **others: Any) -> tuple[Journey, ...]:
    parsed = parse(text, **others)
    assert parsed.diagnostics == ()
    return parsed.journeys


def test_the_example_of_the_documentation_parses_whole() -> None:
    parsed = parse(TAGS)
    build, run = parsed.journeys
    assert parsed.diagnostics == ()
    assert [capability.token for capability in parsed.capabilities] == ["local-tag-created", "web-up"]
    assert (build.id, build.tier, build.gating, build.feature) == (
        "build-local-tag",
        Tier.SMOKE,
        True,
        "local tags",
    )
    assert build.steps[0].save == (Save(name="tag", pattern=r"(\w+)"),)
    assert build.steps[1].env == {"APP_HOME": "$DOGFOOD_STATE/app"}
    assert run.requires == {"local-tag-created": Location(PATH, 34, 16)}
    assert run.steps[0].expect.stdout == StreamExpectation(equals="demo\n")


def test_a_journey_knows_where_it_stands() -> None:
    first, second = journeys_of(TAGS)
    assert (first.path, first.nodeid) == (PATH, f"{PATH}::build-local-tag")
    assert (first.location, second.location) == (Location(PATH, 21, 9), Location(PATH, 33, 9))
    assert [step.location for step in first.steps] == [Location(PATH, 28, 9), Location(PATH, 32, 9)]


def test_json_and_yaml_give_the_same_journey() -> None:
    written = {"journeys": [{"id": "a", "requires": ["b"], "steps": [{"run": "ls", "expect_exit": 2}]}]}
    parsed = parse_journey_file(json.dumps(written, indent="\t").encode(), path="a.json", stem="a")
    (journey,) = parsed.journeys
    assert parsed.diagnostics == ()
    assert (journey.requires, journey.steps[0].expect.exit) == ({"b": Location("a.json", 6, 5)}, 2)


def test_a_file_with_one_journey_is_named_after_the_file() -> None:
    (journey,) = journeys_of("feature: f\ndefaults: {cwd: x}\nsteps:\n  - ls\n")
    assert (journey.id, journey.feature, journey.location) == ("shop", "f", Location(PATH, 1, 1))
    assert journey.steps == (Step(location=Location(PATH, 4, 5), run="ls", cwd="x"),)


def test_a_file_with_one_journey_may_name_it() -> None:
    assert [journey.id for journey in journeys_of("journey_id: other\nsteps: [ls]\n")] == ["other"]


def test_a_service_is_read_and_given_the_defaults() -> None:
    text = b"""
defaults: {env: {A: 1, B: 2}, shell: sh, cwd: d}
capabilities:
  web-up:
    probe: ls
    service: {run: [serve], ports: [port, admin], env: {B: 3}, cwd: here}
"""
    parsed = parse_settings_file(text, path="dogfood.yaml")
    (capability,) = parsed.capabilities
    assert parsed.diagnostics == ()
    assert capability.service is not None
    assert (capability.service.run, capability.service.ports) == (("serve",), ("port", "admin"))
    assert (capability.service.shell, capability.service.cwd) == ("sh", "here")
    assert capability.service.env == {"A": "1", "B": "3"}
    assert capability.probe is not None
    assert (capability.probe.shell, capability.probe.cwd) == ("sh", "d")


def test_the_nearest_default_wins() -> None:
    outer = Defaults(cwd="outer", env={"A": "outer", "B": "outer"}, timeout=1, shell="sh")  # noqa: S604 - a value, not a call
    text = """
    defaults: {cwd: file, env: {B: file, C: file, D: file}, timeout: 2}
    env: {C: journey, D: journey}
    timeout: 60
    steps:
      - ls
      - {run: ls, cwd: step, shell: bash, env: {D: step}, timeout: 3}
    """
    (journey,) = journeys_of(text, defaults=outer)
    plain, own = journey.steps
    assert (plain.shell, plain.cwd, plain.timeout) == ("sh", "file", 2.0)
    assert plain.env == {"A": "outer", "B": "file", "C": "journey", "D": "journey"}
    assert (own.shell, own.cwd, own.timeout) == ("bash", "step", 3.0)
    assert own.env == {"A": "outer", "B": "file", "C": "journey", "D": "step"}
    assert (journey.timeout, journey.env) == (60.0, {"C": "journey", "D": "journey"})


def test_settings_hold_defaults_capabilities_and_the_hub() -> None:
    parsed = parse_settings_file(b"defaults: {timeout: 5}\nhub: {id: shop}\n", path="dogfood.yaml")
    assert (parsed.defaults, parsed.diagnostics) == (Defaults(timeout=5), ())


def test_the_units_of_a_pool_have_names_or_numbers() -> None:
    parsed = parse_settings_file(b"pools:\n  account: [shop-1, 2]\n  gpu: 3\n", path="dogfood.yaml")
    assert parsed.diagnostics == ()
    assert parsed.pools == (
        Pool(name="account", location=Location("dogfood.yaml", 2, 3), units=("shop-1", "2")),
        Pool(name="gpu", location=Location("dogfood.yaml", 3, 3), units=("1", "2", "3")),
    )


@pytest.mark.parametrize(
    "pools, code, column",
    [
        ("{gpu: 0}", "out-of-range", 14),
        ("{gpu: -1}", "out-of-range", 14),
        ("{gpu: 10001}", "out-of-range", 14),
        ("{gpu: '2'}", "wrong-type", 14),
        ("{gpu: a}", "wrong-type", 14),
        ("{gpu: }", "missing-value", 14),
        ("{gpu: []}", "missing-value", 14),
        ("{gpu: ['a b']}", "bad-name", 15),
        ("{gpu: {a: 1}}", "wrong-type", 14),
        ("{gpu: [a, b, a]}", "duplicate-key", 14),
        ("{GPU: 2}", "bad-name", 9),
        ("[gpu]", "wrong-type", 8),
    ],
)
def test_a_mistake_in_a_pool_is_reported_at_its_place(pools: str, code: str, column: int) -> None:
    (found,) = parse_settings_file(f"pools: {pools}\n".encode(), path="dogfood.yaml").diagnostics
    assert (found.code, found.location) == (code, Location("dogfood.yaml", 1, column))


def test_a_section_of_the_settings_is_read_alone() -> None:
    settings = b"hub: {id: shop}\ncapabilities: {up: {prove: 'true'}}\nconsistency: {fetch_timeout: 0s}\n"
    assert parse_settings_section(settings, path="dogfood.yaml", section="hub") == ({"id": "shop"}, ())
    _, wrong = parse_settings_section(settings, path="dogfood.yaml", section="consistency")
    everything = parse_settings_file(settings, path="dogfood.yaml").diagnostics
    assert [str(found) for found in everything] == [
        "dogfood.yaml:2:21: unknown key 'prove' in a capability [unknown-key]\n    hint: did you mean 'probe'?",
        str(*wrong),
    ]
    assert [found.message for found in wrong] == ["fetch_timeout: a duration must be longer than zero"]


def test_empty_settings_mark_a_project() -> None:
    assert parse_settings_file(b"\n", path="dogfood.yaml") == ParsedFile(path="dogfood.yaml")


MATRIX = """
journeys:
  - id: install
    matrix: {os: [linux, mac], py: [3.10, 3.11]}
    requires: ["image-built:${os}"]
    establishes: ["installed:${os}-${py}"]
    workdir: at-${os}
    env: {X: 1}
    steps: ['echo ${os}']
"""


def test_a_matrix_gives_a_journey_per_combination() -> None:
    journeys = journeys_of(MATRIX)
    assert [journey.id for journey in journeys] == [
        "install[linux-3.10]",
        "install[linux-3.11]",
        "install[mac-3.10]",
        "install[mac-3.11]",
    ]
    last = journeys[-1]
    assert (last.matrix, last.env) == (
        {"os": "mac", "py": "3.11"},
        {"os": "mac", "py": "3.11", "X": "1"},
    )
    assert (list(last.requires), list(last.establishes)) == (["image-built:mac"], ["installed:mac-3.11"])
    assert (last.workdir, last.nodeid) == ("at-mac", f"{PATH}::install[mac-3.11]")
    assert (last.steps[0].run, last.steps[0].env) == ("echo ${os}", last.env)


def test_a_token_named_twice_is_a_warning() -> None:
    (found,) = parse("requires: [a, a]\nsteps: [ls]").diagnostics
    assert (found.code, found.severity) == ("duplicate-token", Severity.WARNING)
    assert found.location == Location(PATH, 1, 15)


LEGACY = """
- journey_id: first
  rationale: r
  source: {kind: readme}
  modality: cli
  tier: core
  establishes: []
  requires: []
  gating: false
  seed_files: [{path: a.txt, content: x}]
  steps:
    - {intent: i, expect: e, core: true, expect_exit: 0, expect_cmd_re: x, expect_text: t, expect_state: s}
"""


def test_keys_of_the_older_harness_are_accepted() -> None:
    (journey,) = journeys_of("journeys:" + LEGACY)
    assert (journey.id, journey.seed_files) == ("first", {"a.txt": "x"})
    assert journey.needs_actor


def test_each_error_comes_with_valid_journeys_kept() -> None:
    parsed = parse("journeys:\n- {id: a, steps: [ls]}\n- {id: b, steps: [ls], tier: x}\n")
    assert [journey.id for journey in parsed.journeys] == ["a", "b"]
    assert [found.code for found in parsed.diagnostics] == ["unknown-word"]
