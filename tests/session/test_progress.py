"""What a person sees while a run goes on: lines with -v and -s, and a status line for each worker on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest

from pytest_dogfood.execution.interruption import Interruption
from pytest_dogfood.session.progress import ProgressDisplay
from tests.support.run_results import leaving_out
from tests.support.scenes import Inner

COLUMNS, LINES = 100, 24

PROJECT = {
    "shop.journey.yaml": """\
    capabilities:
      image-pulled:
        probe: test -f "$DOGFOOD_STATE/image"
        provision:
          - {intent: pull it, run: 'echo pulling; sleep "${PULL_SECONDS:-0}"; touch "$DOGFOOD_STATE/image"'}
    journeys:
      - id: open
        requires: [image-pulled]
        steps:
          - {intent: say hello, run: 'echo hello'}
          - {run: 'echo the key is k-1234567', save: {key: {stdout: 'k-\\d+', secret: true}}}
          - {run: 'printf "I use k-1234567"'}
          - run: test "$(wc -c < tries)" -gt 3 || { printf x >> tries; exit 1; }
            until: {timeout: 9, interval: 50ms}
        seed_files: {tries: ""}
        cleanup: [{intent: put it away, run: 'true'}]
    """,
}


@pytest.fixture(scope="module")
def shop(inner: Callable[..., Inner]) -> Inner:
    return inner(PROJECT)


def screens(shop: Inner, *arguments: str, **environment: str) -> Iterator[str]:
    """Run pytest at a terminal, and yield what that shows each time something was written to it."""
    options = [
        "--dogfood",
        *leaving_out(arguments, "cacheprovider"),
        "-o",
        f"dogfood_state_root={shop.state_root}",
    ]
    inherited = {
        name: text for name, text in os.environ.items() if not name.startswith(("PYTEST_", "COLUMNS"))
    }
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(shop.path)
        command = [sys.executable, "-m", "pytest", *options, *arguments]
        shown = {"TERM": "xterm", "PULL_SECONDS": "2.5"}
        os.execve(sys.executable, command, {**inherited, **shown, **environment})  # noqa: S606 - a test starts what it tests
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    while True:
        try:
            written = os.read(terminal, 65536)
        except OSError:  # Linux: the other side has closed it
            break
        stream.feed(written)
        yield "\n".join(line.rstrip() for line in screen.display)
    os.waitpid(pid, 0)
    os.close(terminal)


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_status_line_says_what_is_provisioned_for_what_and_for_how_long(shop: Inner, workers: str) -> None:
    seen = list(screens(shop, workers))
    worker = r"gw\d  " if workers == "-n2" else ""
    line = re.compile(worker + r"open: provision of image-pulled: step 1 \(pull it\), \d s")
    assert any(line.fullmatch(one) for screen in seen for one in screen.splitlines())
    assert "pull it" not in seen[-1]
    assert "1 passed" in seen[-1]


@pytest.mark.parametrize(
    "arguments, environment", [(["-q"], {}), ([], {"CI": "true"}), ([], {"TERM": "dumb"})]
)
def test_there_is_no_status_line_where_it_would_be_in_the_way(
    shop: Inner, arguments: list[str], environment: dict[str, str]
) -> None:
    assert not any("pull it" in screen for screen in screens(shop, *arguments, **environment))


def test_with_v_provisions_and_steps_are_told_as_they_begin(shop: Inner) -> None:
    shop.dogfood("-v").stdout.fnmatch_lines(
        [
            "shop.journey.yaml::open *",
            "  provision of image-pulled",
            "    step 1 (pull it)",
            "  step 1 (say hello)",
            "  step 2",
            "  step 3",
            "  step 4",
            "shop.journey.yaml::open PASSED *",
            "  clean-up: step 1 (put it away)",
        ],
        consecutive=True,
    )


def test_with_v_workers_are_named_and_all_that_they_do_is_told_however_short(shop: Inner) -> None:
    result = shop.dogfood("-v", "-n2")
    result.stdout.fnmatch_lines(
        [
            "[[]gw?] open: provision of image-pulled",
            "[[]gw?] open: provision of image-pulled: step 1 (pull it)",
            "[[]gw?] open: step 1 (say hello)",
            "[[]gw?] open: step 2",
            "[[]gw?] open: step 3",
            "[[]gw?] open: step 4",
            "[[]gw?] * PASSED shop.journey.yaml::open *",
        ]
    )
    result.stdout.fnmatch_lines(["[[]gw?] open: clean-up: step 1 (put it away)"])
    assert sum("step 4" in line for line in result.outlines) == 1  # it was tried four times


def test_with_s_their_output_is_shown_and_secrets_are_not(shop: Inner) -> None:
    result = shop.dogfood("-s")
    result.stdout.fnmatch_lines(
        ["    pulling", "  step 1 (say hello)", "    hello", "  step 2", "  step 3", "    I use ***"]
    )
    result.stdout.no_fnmatch_line("*k-1234567*")


def test_without_v_or_s_and_without_a_terminal_nothing_is_told(shop: Inner) -> None:
    shop.dogfood().stdout.no_fnmatch_line("*pull it*")


def test_what_is_done_after_the_display_has_ended_is_written_nowhere(
    pytester: pytest.Pytester, tmp_path: Path
) -> None:
    interruption = Interruption()
    ProgressDisplay(pytester.parseconfig("-v"), interruption, None).close()
    with (
        (tmp_path / "opened-since").open("wb"),
        interruption.operation("a"),
        interruption.operation("step 1"),
    ):
        pass  # the number that was the terminal's is now the file's
    assert (tmp_path / "opened-since").read_bytes() == b""
