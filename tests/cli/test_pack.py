"""`dogfood pack` of real runs, and `dogfood enter` of packs on what stands for another machine."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path

import pytest

from tests.support.entered_projects import Project
from tests.support.waiting import until

TEXT = """
capabilities:
  up: {service: {run: exec sleep 100, ports: [port]}, probe: 'true'}
journeys:
  - id: build
    establishes: [built]
    steps:
      - run: |
          cd "$DOGFOOD_STATE"
          echo "state=$DOGFOOD_STATE" > conf
          mkdir bin; printf '#!/bin/sh\\necho tool of %s\\n' "$DOGFOOD_STATE" > bin/tool; chmod +x bin/tool
          ln -s "$DOGFOOD_STATE/conf" absolute
          ln -s conf relative
          ln -s /usr/bin/env outside
          printf 'in\\0%s' "$DOGFOOD_STATE" > binary
          mkfifo pipe
  - id: use
    requires: [built, up]
    env: {OWN: "$DOGFOOD_ROOT/own:$DOGFOOD_ROOT-else"}
    steps:
      - run: echo id=a1
        save: {FOUND: {stdout: "id=(.+)"}}
      - run: mkdir -p sub; echo made > made; echo see "$DOGFOOD_UP_PORT"; exit 3
        env: {LAST: "$DOGFOOD_ROOT/last", PATH: "$PATH:$DOGFOOD_STATE/bin"}
  - {id: fine, steps: [run: echo fine > fine]}
"""


class Machines:
    """A project on a CI machine with a run that has failed and its pack, and the same project at home."""

    def __init__(self, path: Path, *roots: Path) -> None:
        """Make them; each root is a short path."""
        for name in ("ci", "home"):
            (path / name).mkdir()
        self.ci = Project(path / "ci", roots[0], TEXT)
        self.said = self.ci.pytest("-p", "no:randomly").stdout
        (self.run,) = [one.parent for one in roots[0].glob("df-*/*/run.json")]
        self.pack = path / "shop.tar.gz"
        self.packing = self.ci.command("pack", "-o", str(self.pack))
        self.home = Project(path / "home", roots[1], TEXT)

    def enter(self, *script: str, name: str = "use") -> subprocess.CompletedProcess[str]:
        return self.home.enter(name, "--run", str(self.pack), "--", *script)


@contextmanager
def machines_in(path: Path) -> Iterator[Machines]:
    roots = [Path(tempfile.mkdtemp(prefix="d", dir="/tmp")) for _ in range(2)]
    yield Machines(path, *roots)
    for root in roots:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Share one pack among the tests that change nothing of it."""
    with machines_in(tmp_path_factory.mktemp("machines")) as made:
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Machines]:
    with machines_in(tmp_path) as made:
        yield made


@pytest.fixture
def moved(machines: Machines, tmp_path: Path, short_root: Path) -> Machines:
    """Let the shared pack be entered in a project of the test's own."""
    made = copy(machines)
    (tmp_path / "home").mkdir()
    made.home = Project(tmp_path / "home", short_root, TEXT)
    return made


def test_packing_says_what_is_in_the_pack_what_not_and_how_to_enter_it(machines: Machines) -> None:
    assert (machines.packing.returncode, machines.packing.stderr) == (0, "")
    first, *left_out, last = machines.packing.stdout.splitlines()
    assert first.startswith(f"wrote {machines.pack} (")
    assert first.endswith("): the record, c0-main, use-w1-main")
    assert left_out == [
        "left out: c0-main/outside, because it is a link that leads out of the run, to /usr/bin/env",
        "left out: c0-main/pipe, because it is a FIFO",
    ]
    assert last == f"shell:    dogfood enter use --run {machines.pack}"


LISTING = """
cd "$1" || exit
find . -mindepth 1 \\( -type f -printf '%p %m %T@\\n' -o -type l -printf '%p %l\\n' -o -printf '%p %m\\n' \\) | sort
find . -type f | sort | xargs cat
"""


def test_a_pack_lists_the_same_in_another_directory_with_the_original_gone(own: Machines) -> None:
    directories = {"DOGFOOD_STATE": own.run / "c0-main", "DOGFOOD_WORKDIR": own.run / "use-w1-main"}
    for name in ("pipe", "outside", "binary"):
        (own.run / "c0-main" / name).unlink()
    for number, path in enumerate(sorted(own.run.rglob("*"))):
        os.utime(path, (number, 10**9 + number), follow_symlinks=False)
    own.ci.command("pack", "-o", str(own.pack))
    expected = {}
    for name, path in directories.items():
        program = ["sh", "-c", LISTING, "sh", str(path)]
        done = subprocess.run(program, capture_output=True, text=True, check=True)
        expected[name] = done.stdout.replace(str(own.run), "RUN")
    shutil.rmtree(own.ci.path)
    shutil.rmtree(own.ci.root)
    for name, listed in expected.items():
        done = own.enter("sh", "-c", f'set -- "${name}"; echo "$1"; {LISTING}')
        here, found = done.stdout.split("\n", 1)
        assert found.replace(str(Path(here).parent), "RUN") == listed
    assert own.home.run_directories == []


def test_files_links_and_programs_of_a_pack_lead_to_what_was_unpacked(machines: Machines) -> None:
    script = 'cd $DOGFOOD_STATE; pwd; cat conf; readlink absolute; cat relative; bin/tool; cat binary | tr "\\0" ":"'
    here, conf, absolute, relative, tool, binary = machines.enter("sh", "-c", script).stdout.splitlines()
    assert Path(here).parents[2] == machines.home.root
    assert conf == relative == f"state={here}"
    assert absolute == f"{here}/conf"
    assert tool == f"tool of {here}"
    assert binary == f"in:{machines.run}/c0-main"


def test_the_variables_of_a_pack_name_what_is_here(machines: Machines) -> None:
    script = 'echo "$OWN"; echo "$FOUND $DOGFOOD_ROOT $DOGFOOD_RUN"; pwd; echo "$DOGFOOD_WORKDIR"; echo "$LAST"; tool'
    own, rest, here, workdir, last, tool = machines.enter("sh", "-c", script).stdout.splitlines()
    home = machines.home.path
    assert last == f"{home}/last"
    assert tool == f"tool of {Path(workdir).parent}/c0-main"
    assert own == f"{home}/own:{machines.ci.path}-else"
    assert rest == f"a1 {home} {machines.run.name}"
    assert here == workdir
    assert machines.home.run_directories == []


def test_the_banner_says_what_is_different_in_a_pack(moved: Machines) -> None:
    file = moved.home.path / "all.journey.yaml"
    file.write_text(file.read_text().replace("echo id=a1", "echo id=a2"))
    with moved.home.shell("use", "--run", str(moved.pack)) as session:
        session.look_back()
        session.shows(rf"dogfood: use, after step 2 of 2, in a copy of the pack {moved.pack}")
        session.shows("failed:   exit status: expected 0, got 3")
        session.shows("differs:  the steps of use here from those that ran")
        session.shows("missing:  c0-main/outside, c0-main/pipe, which the pack leaves out")
        session.shows("stopped:  up, which ran as a service")
        session.shows(rf"old path: binary files still name {moved.run}: c0-main/binary")
        session.type("dogfood-step; echo status-$?\n")
        session.shows("see [0-9]+\nstatus-3")
        session.type("exit 4\n")
        assert session.ends() == 4
    assert moved.home.run_directories == []


def edited(pack: Path, target: Path, change: Callable[[str, bytes], bytes]) -> None:
    """Write a pack anew, with what `change` makes of the content of each file."""
    with tarfile.open(pack) as old, tarfile.open(target, "w:gz") as new:
        for member in old:
            file = old.extractfile(member) if member.isreg() else None
            content = b"" if file is None else change(member.name, file.read())
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))


def test_variables_that_the_journey_does_not_set_do_not_come_from_a_pack(
    machines: Machines, tmp_path: Path
) -> None:
    def with_more(name: str, content: bytes) -> bytes:
        more = (
            b'"OWN":"x","BASH_ENV":"/evil","LD_PRELOAD":"/evil.so","DOGFOOD_A=B":"","DOGFOOD_NUL":"\\u0000",'
        )
        return content.replace(b'"OWN":', more + b'"AGAIN":') if name == "records/activities" else content

    edited(machines.pack, tmp_path / "evil.tar.gz", with_more)
    script = 'echo "$OWN:$BASH_ENV:$LD_PRELOAD:$AGAIN"'
    done = machines.home.enter("use", "--run", str(tmp_path / "evil.tar.gz"), "--", "sh", "-c", script)
    assert done.stdout == "x:::\n"


@pytest.mark.parametrize(
    "old, new, said",
    [
        ('"place":"c0-main"', '"place":"../c0-main"', "names directories that are not below it"),
        ('"DOGFOOD_STATE":"/', '"DOGFOOD_STATE":"//x/', "names directories that are not below it"),
        (
            '"kind":"journey"',
            '"kind":"no-such"',
            "evil.tar.gz/records/activities cannot be read (Invalid enum value",
        ),
    ],
)
def test_a_pack_with_a_record_that_is_not_ours_is_refused_and_nothing_stays(
    machines: Machines, tmp_path: Path, old: str, new: str, said: str
) -> None:
    def changed(name: str, content: bytes) -> bytes:
        return content.replace(old.encode(), new.encode()) if name == "records/activities" else content

    edited(machines.pack, tmp_path / "evil.tar.gz", changed)
    done = machines.home.enter("use", "--run", str(tmp_path / "evil.tar.gz"), "--", "ls")
    assert (done.returncode, done.stdout) == (4, "")
    assert said in done.stderr
    assert machines.home.run_directories == []


def test_what_a_pack_says_moves_no_cursor(machines: Machines, tmp_path: Path) -> None:
    def changed(name: str, content: bytes) -> bytes:
        return (
            content.replace(b'"id":"fine"', rb'"id":"\u001b[2J"') if name == "records/graph.json" else content
        )

    edited(machines.pack, tmp_path / "evil.tar.gz", changed)
    done = machines.home.enter("zzz", "--run", str(tmp_path / "evil.tar.gz"), "--", "ls")
    assert r"it has build, use, \x1b[2J" in done.stderr


def test_a_hostile_pack_is_refused_whole_and_nothing_of_it_stays(machines: Machines, tmp_path: Path) -> None:
    shutil.copy(machines.pack, tmp_path / "evil.tar.gz")
    with tarfile.open(machines.pack) as old, tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as new:
        for member in old:
            new.addfile(member, old.extractfile(member) if member.isreg() else None)
        new.addfile(tarfile.TarInfo("../../evil"))
    done = machines.home.enter("use", "--run", str(tmp_path / "evil.tar.gz"), "--", "ls")
    assert (done.returncode, done.stdout) == (4, "")
    assert "has a member that leaves its directory, ../../evil; nothing of it was unpacked" in done.stderr
    assert machines.home.run_directories == []
    assert list(machines.home.root.rglob("evil")) == []


@pytest.mark.parametrize(
    "words, said",
    [
        (["us"], "there is no journey 'us' in the pack {pack}; did you mean 'use'?"),
        (["zzz"], "there is no journey 'zzz' in the pack {pack}; it has build, use, fine"),
        (
            ["fine"],
            "the pack {pack} has not kept the directories of fine, which passed: dogfood enter fine sets up",
        ),
        (["use", "--step", "2"], "leave --step and --after out"),
        (
            ["use", "--limit", "1KB"],
            "holds more than 1 KB: if you trust it, add --limit, such as --limit 2GB",
        ),
        (["use", "--limit", "much"], "expected a size such as 500MB or 2GB, not 'much'"),
    ],
)
def test_what_a_pack_cannot_give_is_refused(machines: Machines, words: list[str], said: str) -> None:
    done = machines.home.enter(*words, "--run", str(machines.pack), "--", "ls")
    assert (done.returncode, done.stdout) == (4, "")
    assert said.format(pack=machines.pack) in done.stderr
    assert machines.home.run_directories == []


def test_a_pack_without_a_terminal_needs_a_command(machines: Machines) -> None:
    done = machines.home.enter("use", "--run", str(machines.pack))
    assert (done.returncode, done.stdout) == (4, "")
    assert "there is no terminal for a shell: name a command, as in -- ls -l" in done.stderr


def test_a_pack_of_another_project_is_refused(moved: Machines) -> None:
    (moved.home.path / "all.journey.yaml").rename(moved.home.path / "other.journey.yaml")
    done = moved.enter("ls")
    assert (done.returncode, done.stdout) == (4, "")
    assert (
        f"the pack {moved.pack} is one of another project, ci: there is no all.journey.yaml::use in"
        in done.stderr
    )
    assert moved.home.run_directories == []


def test_a_project_that_is_not_valid_is_shown_first(moved: Machines) -> None:
    (moved.home.path / "more.journey.yaml").write_text(
        "journeys: [{id: a, requires: [no-such], steps: [run: ls]}]"
    )
    done = moved.enter("ls")
    assert (done.returncode, done.stdout) == (4, "")
    assert "[unknown-token]" in done.stderr
    assert "the project here is not valid, as shown above: correct it first" in done.stderr


def test_a_pack_is_entered_from_any_directory_of_the_project(machines: Machines) -> None:
    (machines.home.path / "below").mkdir(exist_ok=True)
    done = machines.home.enter(
        "use", "--run", str(machines.pack), "--", "ls", here=machines.home.path / "below"
    )
    assert (done.returncode, done.stdout) == (0, "made\nsub\n"), done.stderr


def test_everything_that_is_kept_can_be_packed(own: Machines) -> None:
    shutil.rmtree(own.run)
    own.ci.pytest("-p", "no:randomly", "--dogfood-keep")
    for words, kept in ((["--all"], True), ([], False)):
        assert own.ci.command("pack", "-o", "some.tar.gz", *words).returncode == 0
        done = own.home.enter("fine", "--run", str(own.ci.path / "some.tar.gz"), "--", "cat", "fine")
        assert (done.returncode == 0) is kept
        assert done.stdout == ("fine\n" if kept else "")


def test_a_run_is_packed_by_its_id_into_a_file_that_bears_it(own: Machines) -> None:
    done = own.ci.command("pack", own.run.name)
    assert done.stdout.startswith(f"wrote dogfood-{own.run.name}.tar.gz (")
    assert (own.ci.path / f"dogfood-{own.run.name}.tar.gz").read_bytes() == own.pack.read_bytes()


def test_of_a_run_that_passed_only_the_record_is_packed(own: Machines) -> None:
    own.ci.pytest("all.journey.yaml::fine")
    done = own.ci.command("pack", "-o", "green.tar.gz")
    first, last = done.stdout.splitlines()
    assert first.endswith("): the record")
    assert (
        last
        == "no shell: a run keeps the directories of what fails; pytest --dogfood --dogfood-keep keeps all"
    )
    assert done.returncode == 0


def test_more_than_the_limit_is_refused_with_the_largest_files(own: Machines) -> None:
    (own.run / "c0-main" / "much").write_bytes(bytes(3_000_000))
    done = own.ci.command("pack", "-o", "much.tar.gz", "--limit", "2MB")
    assert (done.returncode, done.stdout) == (4, "")
    first, largest, *_ = done.stderr.splitlines()
    assert first.startswith(
        "dogfood pack: there are 3.1 MB to pack, more than 2 MB; remove what is not needed, or say "
    )
    assert first.endswith("--limit 4MB. The largest files:")
    assert largest == "  c0-main/much: 3 MB"
    assert not (own.ci.path / "much.tar.gz").exists()
    assert own.ci.command("pack", "-o", "much.tar.gz", "--limit", "4MB").returncode == 0


@pytest.mark.parametrize(
    "words, said",
    [
        (["no-such"], "there is no run no-such"),
        (["--limit", "0"], "expected a size such as 500MB or 2GB, not '0'"),
        (["-o", "no/such/place.tar.gz"], "cannot write no/such/place.tar.gz: No such file or directory"),
    ],
)
def test_a_mistake_in_packing_is_answered(machines: Machines, words: list[str], said: str) -> None:
    done = machines.ci.command("pack", *words)
    assert (done.returncode, done.stdout) == (4, "")
    assert said in done.stderr


WITH_SECRETS = """
journeys:
  - id: use
    steps:
      - {run: echo token=abcdef123456, save: {TOKEN: {stdout: "token=(.+)", secret: true}}}
      - run: |
          echo "$TOKEN" > held; mkdir "dir-$TOKEN"; echo in > "dir-$TOKEN/in"; ln -s "$TOKEN" link; touch free
          exit 3
"""


def test_a_known_secret_is_in_no_pack_and_what_cannot_be_masked_is_named(
    tmp_path: Path, short_root: Path
) -> None:
    project = Project(tmp_path, short_root, WITH_SECRETS)
    project.pytest()
    done = project.command("pack", "-o", "some.tar.gz")
    assert (done.returncode, done.stdout) == (4, "")
    workdir = "use-w0-main"
    assert done.stderr.splitlines() == [
        "dogfood pack: 2 paths cannot be packed; --leave-out packs everything else:",
        f"  {workdir}/dir-***: its name contains a secret value",
        f"  {workdir}/link: the path that it links to contains a secret value",
    ]
    assert not (tmp_path / "some.tar.gz").exists()
    done = project.command("pack", "-o", "some.tar.gz", "--leave-out")
    assert done.returncode == 0
    assert "abcdef123456" not in done.stdout
    assert b"abcdef123456" not in gzip.decompress((tmp_path / "some.tar.gz").read_bytes())
    script = 'ls; cat held; echo ":$TOKEN:"'
    done = project.enter("use", "--run", "some.tar.gz", "--", "sh", "-c", script)
    assert done.stdout == "free\nheld\n***\n::\n"


def test_a_run_that_is_under_way_or_was_killed_is_not_packed(tmp_path: Path, short_root: Path) -> None:
    text = "journeys: [{id: use, steps: [{run: 'touch $DOGFOOD_ROOT/begun; sleep 100'}]}]"
    project = Project(tmp_path, short_root, text)
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "--dogfood"],
        cwd=tmp_path,
        env=project.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    assert until((tmp_path / "begun").exists)
    (run,) = project.run_directories
    assert f"run {run.name} is still under way: wait for its end" in project.command("pack").stderr
    process.kill()
    process.wait()
    done = project.command("pack")
    assert (done.returncode, done.stdout) == (4, "")
    assert (
        f"run {run.name} was killed before the secrets in its files could be masked: run it again, or"
        in done.stderr
    )
    assert not list(tmp_path.glob("*.tar.gz*"))


@pytest.mark.parametrize("number, status", [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 130)])
def test_a_packing_that_is_ended_leaves_no_half_pack(own: Machines, number: int, status: int) -> None:
    # It takes long, because it does not compress.
    (own.run / "c0-main" / "much").write_bytes(os.urandom(100_000_000))
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest_dogfood", "pack", "-o", "half.tar.gz"], cwd=own.ci.path, env=own.ci.env
    )
    assert until(lambda: any(one.stat().st_size > 10_000 for one in own.ci.path.glob("half.tar.gz*")))
    process.send_signal(number)
    assert process.wait() == status
    assert not (own.ci.path / "half.tar.gz").exists()
    assert status < 0 or list(own.ci.path.glob("half*")) == []


def test_the_index_says_where_a_pack_is_from(machines: Machines) -> None:
    with tarfile.open(machines.pack) as tar:
        file = tar.extractfile("pack.json")
        assert file is not None
        index = json.load(file)
    assert index["run"] == machines.run.name
    assert index["directory"] == str(machines.run)
    assert (index["project"], index["root"]) == ("ci", str(machines.ci.path))


def test_services_that_the_journey_needs_can_be_started_anew_and_end_with_the_shell(own: Machines) -> None:
    for project in (own.ci, own.home):
        file = project.path / "all.journey.yaml"
        file.write_text(
            file.read_text().replace("exec sleep 100", "pwd > $DOGFOOD_STATE/ran; exec sleep 100")
        )
    (own.run / "c0-main" / "pipe").unlink()  # of which there is no copy
    runs = {"home": own.home.path / "../shop.tar.gz", "ci": own.run.name}
    script = (
        'echo "$DOGFOOD_UP_PORT"; cat $DOGFOOD_STATE/ran; echo "$DOGFOOD_STATE"; cat $DOGFOOD_STATE/relative'
    )
    for name, run in runs.items():
        project = getattr(own, name)
        done = project.enter("use", "--run", str(run), "--start-services", "--", "sh", "-c", script)
        assert done.returncode == 0, done.stderr
        port, ran_in, state, conf = done.stdout.splitlines()
        assert conf == f"state={state}"
        assert port.isdecimal()
        assert ran_in == state
        assert until(lambda project=project: not project.is_left())  # type: ignore[misc]


def test_a_service_that_does_not_get_ready_is_told_and_nothing_stays(moved: Machines) -> None:
    file = moved.home.path / "all.journey.yaml"
    file.write_text(file.read_text().replace("exec sleep 100", "echo no luck; exit 7"))
    done = moved.home.enter("use", "--run", str(moved.pack), "--start-services", "--", "ls")
    assert (done.returncode, done.stdout) == (4, "")
    assert "dogfood enter: the service of 'up' ended before its probe succeeded" in done.stderr
    assert "no luck" in done.stderr
    assert moved.home.run_directories == []


WITH_SERVERS = """
capabilities:
  back:
    scope: machine
    provision: [{run: echo name=some, save: {NAME: {stdout: 'name=(.+)'}}}]
  up: {service: {run: exec sleep 100, ports: [port]}, probe: 'true'}
  front:
    requires: [up, back]
    service: {run: 'echo "$DOGFOOD_UP_PORT $DOGFOOD_BACK_NAME" > "$DOGFOOD_STATE/knows"; exec sleep 100'}
    probe: test -s "$DOGFOOD_STATE/knows"
journeys:
  - {id: use, requires: [front], steps: [run: exit 3]}
"""


@pytest.fixture
def served(tmp_path: Path, short_root: Path) -> Project:
    project = Project(tmp_path, short_root, WITH_SERVERS)
    project.pytest()
    return project


def test_a_service_that_needs_another_gets_its_new_values_and_the_recorded_ones_of_all_else(
    served: Project,
) -> None:
    (run,) = served.run_directories
    script = 'cat "$DOGFOOD_STATE/knows"; echo "$DOGFOOD_UP_PORT $DOGFOOD_BACK_NAME"'
    for words, is_new in (([], False), (["--start-services"], True)):
        done = served.enter("use", "--run", run.name, *words, "--", "sh", "-c", script)
        known, now = done.stdout.splitlines()
        assert known.endswith(" some")
        assert now.endswith(" some")
        assert known == now
        before = (run / "c0-main" / "knows").read_text().strip()
        assert (now != before) is is_new


def test_services_do_not_outlive_a_command_that_is_killed(served: Project) -> None:
    (run,) = served.run_directories
    program = [
        sys.executable,
        "-m",
        "pytest_dogfood",
        "enter",
        "use",
        "--run",
        run.name,
        "--start-services",
        "--",
    ]
    process = subprocess.Popen(
        [*program, "sh", "-c", "echo in; exec sleep 100"],
        cwd=served.path,
        env=served.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        process.kill()
    assert until(lambda: not served.is_left())


def test_services_are_started_in_a_new_run_anyway(machines: Machines) -> None:
    done = machines.home.enter("use", "--start-services", "--", "ls")
    assert (done.returncode, done.stdout) == (4, "")
    assert "a new run starts services by itself: leave --start-services out, or add --run" in done.stderr


def test_the_last_run_is_found_where_the_project_keeps_its_runs(own: Machines, short_root: Path) -> None:
    (own.ci.path / "pytest.ini").write_text(f"[pytest]\ndogfood_state_root = {short_root}\n")
    shutil.rmtree(own.run)
    own.ci.pytest("-p", "no:randomly")
    done = own.ci.command("pack", "-o", "other.tar.gz")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_report_of_a_pack_shows_its_outputs_and_how_to_enter_it(machines: Machines) -> None:
    done = machines.home.command("report", str(machines.pack))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"dogfood enter use --run {machines.pack}" in done.stdout
    assert re.search(r"see [0-9]+", done.stdout)
    machines.pack.with_name("bad").write_bytes(machines.pack.read_bytes()[:-20])
    done = machines.home.command("report", str(machines.pack.with_name("bad")))
    assert (done.returncode, done.stdout) == (4, "")
    assert "bad is damaged" in done.stderr
    assert list(machines.home.root.glob("dogfood-*")) == []
