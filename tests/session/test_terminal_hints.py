"""What a run says of the project at its start and at its end."""

from __future__ import annotations

import pytest

from tests.behaviour.test_off import Make

WARNED = """
    capabilities: {up: {probe: echo yes}}
    journeys:
      - {id: a, establishes: [t, t], steps: [cd app, "true"]}
      - {id: b, requires: [up, t], steps: ["true"]}
"""


def test_the_header_counts_the_warnings_on_the_files(inner: Make) -> None:
    project = inner({"a.journey.yaml": WARNED})
    printed = project.dogfood("--collect-only").stdout
    printed.fnmatch_lines(["dogfood: 2 journeys, *; 3 warnings (dogfood check shows them)"])
    project.dogfood("--dogfood-check").stdout.fnmatch_lines(["*the graph is valid (3 warnings, *"])


def test_the_header_says_nothing_where_there_is_no_warning_or_it_is_not_shown(inner: Make) -> None:
    assert "dogfood check shows" not in inner({"a.journey.yaml": WARNED}).dogfood("-q").stdout.str()
    sound = inner({"a.journey.yaml": "steps: ['true']"})
    assert "dogfood check shows" not in sound.dogfood("--collect-only").stdout.str()


def test_the_header_counts_nothing_that_is_not_there(inner: Make) -> None:
    tests = {"test_a.py": "def test_a(): pass"}
    inner(tests).dogfood().stdout.fnmatch_lines(["dogfood: no journey files; shell: *"])
    defined = inner({**tests, "dogfood.yaml": "capabilities: {up: {probe: 'true'}, down: {probe: 'true'}}"})
    defined.dogfood().stdout.fnmatch_lines(["dogfood: no journey files, 2 tokens; shell: *"])


SLOW_CHAIN = """
    journeys:
      - {id: sign-up, establishes: [account], steps: ["true"]}
      - {id: buy, requires: [account], steps: ["true"]}
      - {id: review, requires: [account], steps: ["true"]}
"""

SLOW_TESTS = """
    import pytest

    @pytest.mark.establishes("account")
    def test_sign_up(): pass

    @pytest.mark.requires("account")
    def test_buy(): pass

    @pytest.mark.requires("account")
    def test_review(): pass
"""

CLOCK = """
    import pytest

    WHEN = {"log-in": (0, 1), "up": (1, 2), "buy": (2, 7), "review": (7, 12), "look": (1, 2)}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(item, call):
        "Let the items take seconds without waiting for them."
        report = yield
        began, ended = next(when for name, when in WHEN.items() if item.name.endswith(name))
        report.start = began if call.when != "teardown" else ended
        report.stop = began if call.when == "setup" else ended
        report.duration = report.stop - report.start
        return report
"""


@pytest.mark.parametrize("test", ["journeys", "tests"])
def test_a_chain_that_cost_a_run_much_of_its_time_is_told_at_the_end(inner: Make, test: str) -> None:
    files = {"a.journey.yaml": SLOW_CHAIN} if test == "journeys" else {"test_a.py": SLOW_TESTS}
    name = "sign-up" if test == "journeys" else "test_a.py::test_sign_up"
    cost = f"the chain of {name} took 11 s on one worker while the other was idle for 11 s"
    cure = "'copyable: true' or 'scope: machine' for 'account', if that is true, lets its journeys run side by side"
    inner({**files, "conftest.py": CLOCK}).dogfood("-n2").stdout.fnmatch_lines([f"{cost}; {cure}"])


SLOW_PART = """
    capabilities: {in: {copyable: true}}
    journeys:
      - {id: log-in, establishes: [in], steps: ["true"]}
      - {id: sign-up, requires: [in], establishes: [account], steps: ["true"]}
      - {id: buy, requires: [account], steps: ["true"]}
      - {id: review, requires: [account], steps: ["true"]}
      - {id: look, requires: [in], steps: ["true"]}
"""


def test_of_a_chain_that_is_split_the_part_is_named_that_cost_much(inner: Make) -> None:
    printed = inner({"a.journey.yaml": SLOW_PART, "conftest.py": CLOCK}).dogfood("-n2").stdout
    cost = (
        "the part of chain log-in that begins with sign-up took 11 s on one worker while the other was idle"
    )
    printed.fnmatch_lines([f"{cost} for * s; *'scope: machine' for 'account', *"])


@pytest.mark.parametrize(
    "files, number",
    [
        ({"dogfood.yml": "{}"}, 1),
        ({".dogfood.yaml": "{}", "dogfood.yaml": "{}"}, 1),
        ({"dogfood.json": "{}", "below/dogfood.yml": "{}", "below/b.journey.yaml": "steps: ['true']"}, 2),
        ({"a.journey.yaml": "steps: [cd app]", "dogfood.yml": "{}"}, 2),
        ({"dogfood.yml": "{}", "a.journey.yaml": "", "test_a.py": "def test_a(): pass"}, 1),
    ],
)
def test_the_header_counts_settings_files_that_nothing_reads_for_their_names(
    inner: Make, files: dict[str, str], number: int
) -> None:
    project = inner({"a.journey.yaml": "steps: ['true']", **files})
    if not files.get("a.journey.yaml", "some"):
        (project.path / "a.journey.yaml").unlink()
    counted = f"{number} warning{'s' if number > 1 else ''}"
    them = "them" if number > 1 else "it"
    project.dogfood("--collect-only").stdout.fnmatch_lines(
        [f"dogfood: *; {counted} (dogfood check shows {them})"]
    )
    project.dogfood("--dogfood-check").stdout.fnmatch_lines([f"*({counted}*"])


DEFINED_ELSEWHERE = {
    "dogfood.yml": "capabilities: {up: {provision: ['true']}}",
    "a.journey.yaml": "{requires: up, steps: ['true']}",
    "test_a.py": "import pytest\n@pytest.mark.requires('up')\ndef test_a(): pass",
}


@pytest.mark.parametrize(
    "arguments",
    [("a.journey.yaml",), ("test_a.py",), ("-n1", "test_a.py"), ("--collect-only",)],
    ids=" ".join,
)
def test_a_refused_run_names_a_settings_file_that_nothing_reads(
    inner: Make, arguments: tuple[str, ...]
) -> None:
    refused = inner(DEFINED_ELSEWHERE).dogfood(*arguments)
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(
        [
            "*'up', which nothing establishes, provides or defines [[]unknown-token]",
            "dogfood.yml: nothing reads this file: settings are read from dogfood.yaml [[]not-collected]",
            "    hint: rename it to 'dogfood.yaml'",
        ]
    )
