from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.storage.files import SharedLog
from tests.support.disks import largest_file


@dataclass(frozen=True)
class Note:
    text: str


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes"


def texts(log: SharedLog[Note]) -> list[str]:
    return [note.text for note in log.unread()]


def test_everybody_reads_everything_once_and_in_order(path: Path) -> None:
    one, other = SharedLog(path, Note), SharedLog(path, Note)
    one.append(Note("a"))
    assert (texts(one), texts(other)) == (["a"], ["a"])
    other.append(Note("b"))
    one.append(Note("c"))
    assert (texts(one), texts(other), texts(one)) == (["b", "c"], ["b", "c"], [])


def test_where_nothing_was_appended_there_is_nothing_to_read_and_no_file(path: Path) -> None:
    assert texts(SharedLog(path, Note)) == []
    assert not path.exists()


def test_any_text_is_one_record(path: Path) -> None:
    log = SharedLog(path, Note)
    for text in ("", "two\nlines", "\r\x85\u2028", "{", "ä" * 70_000):
        log.append(Note(text))
        assert texts(log) == [text]


def test_only_its_owner_may_read_it(path: Path) -> None:
    SharedLog(path, Note).append(Note("a"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def append_many(path: Path, letter: str) -> None:
    log = SharedLog(path, Note)
    for _ in range(200):
        log.append(Note(letter * 500))


def test_records_of_several_processes_stay_whole(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append_many, args=(path, letter)) for letter in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert sorted(texts(SharedLog(path, Note))) == ["a" * 500] * 200 + ["b" * 500] * 200


def test_what_somebody_could_not_finish_is_passed_over_and_goes_with_the_next_record(path: Path) -> None:
    reader, writer = SharedLog(path, Note), SharedLog(path, Note)
    writer.append(Note("a"))
    with path.open("ab") as file:
        file.write(b'{"text": "half')
    assert texts(reader) == ["a"]
    writer.append(Note("b"))
    assert texts(reader) == ["b"]
    assert path.read_bytes() == b'{"text":"a"}\n{"text":"b"}\n'


def test_a_file_of_nothing_but_a_half_record_is_begun_anew(path: Path) -> None:
    path.write_bytes(b'{"text": "half')
    log = SharedLog(path, Note)
    log.append(Note("a"))
    assert texts(log) == ["a"]


def test_on_a_full_disk_the_record_is_not_there_and_the_others_are(path: Path) -> None:
    log = SharedLog(path, Note)
    log.append(Note("a"))
    with largest_file(100), pytest.raises(HarnessError, match=r"cannot write .*/notes: File too large"):
        log.append(Note("b" * 200))
    assert path.read_bytes() == b'{"text":"a"}\n'
    log.append(Note("c"))
    assert texts(log) == ["a", "c"]


@pytest.mark.parametrize("content", [b"{\n", b'{"text": 1}\n', b"\xff\n", b"[" * 10_000 + b"\n"])
def test_what_nobody_of_us_wrote_is_an_error_with_its_place(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(HarnessError, match=r"/notes cannot be read .*; remove it and run again"):
        SharedLog(path, Note).unread()


@pytest.mark.parametrize(
    "use", [lambda log: log.append(Note("a")), lambda log: log.unread()], ids=["append", "unread"]
)
def test_a_link_is_never_followed(use: Callable[[SharedLog[Note]], object], path: Path) -> None:
    path.symlink_to(path.with_name("victim"))
    with pytest.raises(HarnessError, match=r"cannot (write|read) .*/notes: Too many levels"):
        use(SharedLog(path, Note))
    assert not path.with_name("victim").exists()


def test_where_no_file_can_be_made_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"cannot write .*/missing/notes: No such file"):
        SharedLog(tmp_path / "missing" / "notes", Note).append(Note("a"))


class Interrupted(Exception):  # noqa: N818 - as KeyboardInterrupt is one
    pass


def interrupt(*_: object) -> None:
    raise Interrupted


def test_whoever_is_interrupted_takes_nothing_back_that_others_have_read(path: Path) -> None:
    writer, reader = SharedLog(path, Note), SharedLog(path, Note)
    found: list[str] = []
    gc.disable()  # what a signal raises within a callback of the collector (Hypothesis has one) is lost, and a warning
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(400):
            signal.setitimer(signal.ITIMER_REAL, 0.00002 + number % 40 * 0.000005)
            with suppress(Interrupted):
                writer.append(Note(str(number)))
            signal.setitimer(signal.ITIMER_REAL, 0)
            found += texts(reader)
    except Interrupted:  # it came behind the block that waits for it
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    assert found == texts(SharedLog(path, Note))[: len(found)]


DIES = """\
import sys
from pathlib import Path
from tests.storage.test_shared_log import Note, SharedLog
log = SharedLog(Path(sys.argv[1]), Note)
while True:
    log.append(Note("x" * 100_000))
"""


def test_records_stay_readable_when_writers_are_killed_in_the_middle(path: Path) -> None:
    log = SharedLog(path, Note)
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", DIES, str(path)], cwd=Path(__file__).parents[2])
        before = path.stat().st_size if path.exists() else 0
        deadline = time.monotonic() + 60
        while (not path.exists() or path.stat().st_size <= before) and time.monotonic() < deadline:
            os.sched_yield()
        process.send_signal(signal.SIGKILL)
        process.wait()
        log.append(Note("after"))
        assert texts(log)[-1] == "after"
