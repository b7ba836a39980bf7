"""What the header of a script says, and what is wrong with it: decided from its bytes alone."""

from __future__ import annotations

import pytest

from pytest_dogfood.diagnostics import Severity
from pytest_dogfood.fileformat.parser import Defaults, ParsedFile, parse_journey_file
from pytest_dogfood.journey import Journey, Mark, Save, Script, Step, StreamExpectation, Tier

PATH = "sub/buy.journey.sh"
EVERYTHING = rb"""#!/usr/bin/env bash
# Copyright by J\xfcrgen, who wrote this long before UTF-8.

#	dogfood: requires: shop-open, purse-full   # and nothing else
# dogfood: establishes: [bread-bought]
# dogfood: invalidates: purse-full:large
# dogfood: feature: shopping
# dogfood: rationale: "people are hungry: they buy"
# dogfood: source: {kind: readme, ref: "README.md#buy"}
# dogfood: tier: smoke
# dogfood: gating: true
# dogfood: marks: slow, flaky
# dogfood: use: [server]
# dogfood: locks: till
# dogfood: env: {CURRENCY: no}
# dogfood: timeout: 20m
# dogfood: estimate: 2s
# dogfood: intent: buy bread
# dogfood: expect: {stdout: thanks}
# dogfood: expect_exit: 3
# dogfood: stdin: "a loaf"
# dogfood: until: 30s
# dogfood: save: {price: {stdout: "paid (\\d+)"}}
# dogfood: cleanup: [rm -f basket]
# dogfood: capabilities: {purse-full: {probe: test -s purse}}
set -eu
# dogfood is what this is for.
buy "$DOGFOOD_SHOP_OPEN_STREET" "$DOGFOOD_STATE" "${DOGFOOD_SHOP_OPEN_STREET}"
"""


def parsed(
    content: bytes, *, path: str = PATH, stem: str = "buy", defaults: Defaults | None = None
) -> ParsedFile:
    return parse_journey_file(content, path=path, stem=stem, defaults=defaults or Defaults())


def journey_of(*header: str, defaults: Defaults | None = None) -> Journey:
    file = parsed("\n".join(["#!/bin/sh", *header]).encode(), defaults=defaults)
    assert file.diagnostics == ()
    return file.journeys[0]


@pytest.fixture(scope="module")
def file() -> ParsedFile:
    return parsed(EVERYTHING.replace(b"\\xfc", b"\xfc"))


@pytest.fixture(scope="module")
def journey(file: ParsedFile) -> Journey:
    assert file.diagnostics == ()
    return file.journeys[0]


@pytest.fixture(scope="module")
def step(journey: Journey) -> Step:
    return journey.steps[0]


def test_a_script_is_named_after_its_file(journey: Journey) -> None:
    assert (journey.id, journey.nodeid, journey.path) == ("buy", f"{PATH}::buy", PATH)
    assert str(journey.location) == f"{PATH}:1:1"


def test_tokens_stand_where_they_are_written(journey: Journey) -> None:
    places = {str(token): str(place) for token, place in journey.requires.items()}
    assert places == {"shop-open": f"{PATH}:4:22", "purse-full": f"{PATH}:4:33"}
    assert [*journey.establishes, *journey.invalidates] == ["bread-bought", "purse-full:large"]


def test_the_header_takes_every_key_that_says_something_about_a_journey(journey: Journey) -> None:
    assert journey.feature == "shopping"
    assert journey.rationale == "people are hungry: they buy"
    assert journey.source == {"kind": "readme", "ref": "README.md#buy"}
    assert (journey.tier, journey.gating) == (Tier.SMOKE, True)
    assert journey.marks == (Mark(name="slow"), Mark(name="flaky"))
    assert (journey.use, journey.locks) == (("server",), {"till": 1})
    assert (journey.env, journey.estimate) == ({"CURRENCY": "no"}, 2)


def test_the_header_takes_what_a_step_says_about_a_command(step: Step) -> None:
    assert (step.intent, step.stdin) == ("buy bread", "a loaf")
    assert (step.expect.exit, step.expect.stdout) == (3, StreamExpectation(contains=("thanks",)))
    assert step.save == (Save(name="price", pattern=r"paid (\d+)"),)
    assert step.until is not None


def test_a_time_limit_is_that_of_the_step_as_well(journey: Journey, step: Step) -> None:
    assert (journey.timeout, step.timeout) == (1200, 1200)


def test_its_only_step_is_the_file_and_knows_which_values_it_asks_for(journey: Journey, step: Step) -> None:
    assert journey.steps == (step,)
    variables = ("DOGFOOD_SHOP_OPEN_STREET", "DOGFOOD_STATE")
    assert step.run == Script(path=PATH, variables=variables, uses=dict.fromkeys(variables, 28))
    assert journey.mentions("DOGFOOD_SHOP_OPEN_STREET")
    assert not journey.mentions("DOGFOOD_SHOP_OPEN_PORT")


def test_cleanup_runs_beside_the_script(journey: Journey) -> None:
    assert [(step.run, step.cwd) for step in journey.cleanup] == [("rm -f basket", "$DOGFOOD_DIR")]


def test_a_header_can_define_a_token(file: ParsedFile) -> None:
    probes = [one.probe for one in file.capabilities]
    assert [(probe.run, probe.cwd) for probe in probes if probe] == [("test -s purse", None)]


def test_a_script_without_a_header_is_a_journey() -> None:
    journey = journey_of("true")
    assert (journey.id, journey.requires, journey.establishes, journey.tier) == ("buy", {}, {}, Tier.CORE)


def test_a_matrix_makes_several_journeys_of_one_script() -> None:
    file = parsed(b"#!/bin/sh\n# dogfood: matrix: {os: [linux, mac]}\n# dogfood: establishes: ready:${os}\n")
    assert [(one.id, *one.establishes) for one in file.journeys] == [
        ("buy[linux]", "ready:linux"),
        ("buy[mac]", "ready:mac"),
    ]


@pytest.mark.parametrize("line", ["\ufeff".encode() + b"#!/bin/sh", b"echo hi", b""])
def test_what_the_first_line_lacks_does_not_hide_what_the_header_lacks(line: bytes) -> None:
    codes = {found.code for found in parsed(line + b"\n# dogfood: tier: x\n").diagnostics}
    assert codes == {"bad-shebang", "unread-header" if line == b"echo hi" else "unknown-word"}


@pytest.mark.parametrize(
    "header, defaults, expected",
    [
        ("", None, "$DOGFOOD_DIR"),
        ("", "$DOGFOOD_ROOT", "$DOGFOOD_ROOT"),
        ("# dogfood: cwd: .", "$DOGFOOD_ROOT", "."),
    ],
    ids=["its-own", "of-the-project", "as-it-says"],
)
def test_a_script_runs_in_its_own_directory_unless_it_or_the_project_says_otherwise(
    header: str, defaults: str | None, expected: str
) -> None:
    (step,) = journey_of(header, defaults=Defaults(cwd=defaults)).steps
    assert step.cwd == expected


def test_defaults_of_the_project_apply() -> None:
    (step,) = journey_of(defaults=Defaults(env={"A": "1"}, timeout=7)).steps
    assert (step.env, step.timeout) == ({"A": "1"}, 7)


@pytest.mark.parametrize(
    "name, is_script",
    [
        ("a.journey.sh", True),
        ("a.bats", True),
        ("a", True),
        ("a.yaml", False),
        ("a.yml", False),
        ("a.json", False),
    ],
)
def test_what_is_no_data_is_a_script(name: str, *, is_script: bool) -> None:
    steps = parsed(b'#!/bin/sh\n# dogfood: tier: smoke\n"":\n', path=name).journeys
    assert bool(steps) is is_script


WRONG = {
    "unknown key": ("# dogfood: require: a", "12", "unknown-key", "did you mean 'requires'?"),
    "key of a file": ("# dogfood: defaults: {timeout: 1}", "12", "unknown-key", "dogfood.yaml"),
    "list of journeys": ("# dogfood: journeys: []", "12", "unknown-key", "journey"),
    "steps": ("# dogfood: steps: [ls]", "12", "unknown-key", "journey of one step"),
    "shell": ("# dogfood: shell: zsh", "12", "unknown-key", "first line"),
    "run": ("# dogfood: run: ls", "12", "unknown-key", "the script itself is the command"),
    "actor's key": ("# dogfood: expect_cmd_re: x", "12", "unknown-key", "under `steps:`"),
    "wrong type": ("# dogfood: timeout: [1]", "21", "wrong-type", "seconds"),
    "wrong word": ("# dogfood: tier: smok", "18", "unknown-word", "did you mean 'smoke'?"),
    "no token": ("# dogfood: requires: logged in", "22", "bad-token", "kebab-case"),
    "no token in a list": ("# dogfood: requires: a-b, No", "27", "bad-token", "kebab-case"),
    "nothing in a list": ("# dogfood: requires: a,", "24", "missing-value", ""),
    "no value": ("# dogfood: requires:", "21", "missing-value", ""),
    "no key": ("# dogfood:", "11", "missing-value", "# dogfood: requires: logged-in"),
    "no colon": ("# dogfood: requires a", "12", "wrong-type", "# dogfood: requires: logged-in"),
    "no space": ("# dogfood: requires:a", "12", "wrong-type", "put a space after the colon"),
    "bad yaml": ("# dogfood: rationale: so: what", "25", "not-yaml", "quotes"),
    "open bracket": ("# dogfood: cleanup: [a", "23", "not-yaml", "one line"),
    "a tag": ("# dogfood: rationale: !a b", "23", "yaml-tag", "quotes"),
    "an alias": ("# dogfood: rationale: *a", "23", "unknown-alias", "quote"),
    "a control character": ("# dogfood: rationale: a\x01b", "24", "not-yaml", ""),
    "bytes that are no text": ("# dogfood: rationale: caf\xe9", "26", "not-utf8", "UTF-8"),
    "no space before": ("#dogfood: requires: a", "1", "unread-header", "with exactly"),
    "space before the colon": ("# dogfood : requires: a", "1", "unread-header", "with exactly"),
    "capitals": ("# Dogfood: Requires: a", "1", "unread-header", "with exactly"),
    "misspelt": ("# dogfod: requires: a", "1", "unread-header", "with exactly"),
    "another comment": ("// dogfood: requires: a", "1", "unread-header", "with exactly"),
    "too late": ("set -e\n# dogfood: requires: a", "1", "unread-header", "move it into"),
    "too late and misspelt": ("set -e\n# dogfood: require: a", "1", "unread-header", "move it into"),
    "too late after a docstring": (
        '"""About."""\n# dogfood: tier: deep',
        "1",
        "unread-header",
        "move it into",
    ),
    "too far below": ("#\n" * 1000 + "# dogfood: tier: deep", "1", "unread-header", "move it into"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "dos"])
def test_every_mistake_is_told_with_its_place_and_what_helps(case: str, end: str) -> None:
    text, column, code, hint = WRONG[case]
    content = b"#!/bin/sh\n" + text.encode("latin-1").replace(b"\n", end.encode()) + end.encode()
    (found,) = parsed(content).diagnostics
    assert str(found.location) == f"{PATH}:{text.count(chr(10)) + 2}:{column}"
    assert (found.code, found.severity) == (code, Severity.ERROR)
    assert hint in found.hint


@pytest.mark.parametrize(
    "text",
    [
        "# Dogfood: what this is for",
        "# see the notes on dogfood: they help",
        "# dogfooding is good; source: the wiki",
        "# note: source: https://example.org",
        "# good: use: it",
        "cat <<END\n  # dogfood: requires: a\nEND",
        "echo '# dogfood: requires: a'",
    ],
)
def test_prose_and_what_a_script_writes_is_left_alone(text: str) -> None:
    assert parsed(f"#!/bin/sh\n{text}\n".encode()).diagnostics == ()


def test_all_mistakes_come_at_once_and_a_duplicate_names_the_first() -> None:
    lines = ["tier: deep", "rationale: [", "tier: core", "timeout: x", "nothing", "tiers: core"]
    found = parsed("\n".join(["#!/bin/sh", *(f"# dogfood: {line}" for line in lines)]).encode()).diagnostics
    codes = ["not-yaml", "duplicate-key", "bad-duration", "wrong-type", "unknown-key"]
    assert [(one.location.line, one.code) for one in found] == list(zip([3, 4, 5, 6, 7], codes, strict=True))
    assert f"{PATH}:2:12" in found[1].message


@pytest.mark.parametrize(
    "content, place, hint",
    [
        (b"echo hi\n", "1:1", "#!/usr/bin/env bash"),
        (b"\x7fELF\x02\x01\x00\xff\xfe", "1:1", "#!/usr/bin/env bash"),
        (b"\xef\xbb\xbf#!/bin/sh\n", "1:1", "byte order mark"),
        (b"\n#!/bin/sh\n", "1:1", "empty lines"),
        (b" #!/bin/sh\n", "1:1", "blanks"),
        (b"#!/bin/sh\r\ntrue\r\n", "1:10", "Unix line ends"),
        (b"#!/bin/sh\rtrue\r", "1:10", "Unix line ends"),
        (b"#!\n", "1:1", "#!/usr/bin/env bash"),
        (b"#!bash\n", "1:1", "#!/usr/bin/env bash"),
        (b"#! \xff\n", "1:1", "#!/usr/bin/env bash"),
        ("#!/bin/sh\n".encode("utf-16"), "1:1", "#!/usr/bin/env bash"),
    ],
)
def test_a_first_line_that_starts_nothing_is_refused(content: bytes, place: str, hint: str) -> None:
    (found,) = parsed(content).diagnostics
    assert (str(found.location), found.code) == (f"{PATH}:{place}", "bad-shebang")
    assert hint in found.hint


@pytest.mark.parametrize("content", [b"", b"\n \r\n"])
def test_an_empty_file_is_no_script(content: bytes) -> None:
    assert [(found.code, found.location.line) for found in parsed(content).diagnostics] == [("empty-file", 1)]


def test_what_stands_behind_the_header_may_be_anything() -> None:
    assert (
        parsed(b"#!/bin/sh\n# dogfood: tier: deep\nexit\n\x00\xff\xfe" + bytes(range(256)) * 50).diagnostics
        == ()
    )


def test_a_name_that_can_be_no_id_says_how_to_give_one() -> None:
    (found,) = parsed(b"#!/bin/sh\n", stem="buy 'it'").diagnostics
    assert found.code == "bad-id"
    assert "add `id:`" in found.hint
    assert parsed(b"#!/bin/sh\n# dogfood: id: buy-it\n", stem="buy 'it'").journeys[0].id == "buy-it"


@pytest.mark.parametrize(
    "line",
    [b"# dogfood: a: 1\n", b"#\n", b"#dogfood: tier: x\n", b"# dogfood: requires: a\n", b"-" * 9 + b"\n"],
)
def test_a_hostile_header_costs_little(line: bytes) -> None:
    content = b"#!/bin/sh\n" + line * (4_000_000 // len(line))
    assert len(parsed(content).diagnostics) <= 1001


@pytest.mark.parametrize(
    "piece", [b" #", b"exec ", b"\n", b")\n", b"; ", b"do ", b"| ", b"{DOGFOOD_a ", b"$", b"${a} "], ids=repr
)
def test_hostile_text_costs_little(piece: bytes) -> None:
    content = b"#!/bin/sh\nread $a" + piece * (1_000_000 // len(piece)) + b"'"
    assert parsed(content).diagnostics == ()


@pytest.mark.parametrize(
    "text, reads",
    [
        ("#!/usr/bin/env bash\nset -e\nls | wc -l\nread -r name\n", True),
        ("#!/bin/sh -e\n\techo hello && read name # now\n", True),
        ("#!/bin/sh\nwhile read -r line; do\n  echo\ndone < file\n", False),
        ("#!/bin/sh\n# read the docs; read them all\nreadlink a\n", False),
        ("#!/usr/bin/env python3\nread = 1\n", False),
    ],
)
def test_a_script_knows_whether_it_reads_its_input(text: str, *, reads: bool) -> None:
    (journey,) = parsed(text.encode()).journeys
    script = journey.steps[0].run
    assert isinstance(script, Script)
    assert script.reads is reads
