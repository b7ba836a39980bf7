"""Copies of what runs have kept, and packs that were unpacked, for as long as they are used."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError, printable
from pytest_dogfood.execution.background import Watcher
from pytest_dogfood.execution.terminal import StepPlace
from pytest_dogfood.kept_runs.kept_state import EnteredPack, KeptState, Project
from pytest_dogfood.kept_runs.pack_reader import unpack
from pytest_dogfood.storage.files import private_directory
from pytest_dogfood.storage.record import RecordedRun, read_run
from pytest_dogfood.storage.retention import RunLease, checked_root, default_root
from pytest_dogfood.storage.run_directory import RUN, project_name


@contextmanager
def opened_pack(pack: Path) -> Iterator[RecordedRun]:
    """Read the record in a pack, which is unpacked meanwhile; raises HarnessError."""
    with TemporaryDirectory(prefix="dogfood-") as made:
        directory = Path(made)
        index = unpack(pack, directory)
        yield replace(_read(pack, directory), home=index.directory, word=shlex.quote(str(pack)))


@contextmanager
def entered_copy(
    kept: KeptState, *, services_of: Project | None = None
) -> Iterator[tuple[KeptState, StepPlace]]:
    """Copy what a run has kept, and return it with its place; in the end the copy and all that runs there goes.

    With `services_of` the services that the journey needs are started as that project defines them.
    """
    with _private_place(kept.root) as (directory, marker):
        kept.copy_to(directory)
        with _entered(kept, directory, marker, services_of) as place:
            yield kept, place


@contextmanager
def entered_pack(
    pack: Path, name: str, project: Project, *, limit: int, services: bool = False
) -> Iterator[tuple[KeptState, StepPlace]]:
    """Unpack a pack, and return its state of a journey with its place; in the end it and all that runs there goes.

    With `services` those that the journey needs are started. Raises HarnessError if the pack, or the journey in it,
    cannot be entered in the project.
    """
    with _private_place(project.rootdir) as (directory, marker):
        index = unpack(pack, directory, limit=limit)
        entered = EnteredPack(file=str(pack), index=index, project=project)
        recorded = _read(pack, directory)
        try:
            kept = KeptState(recorded, name, here=project.rootdir, pack=entered)
        except HarnessError as error:  # it may repeat what the pack says
            raise HarnessError(printable(str(error))) from error
        (directory / RUN).unlink()  # it is no run of this machine
        with _entered(kept, directory, marker, project if services else None) as place:
            yield kept, place


def _read(pack: Path, directory: Path) -> RecordedRun:
    """Read the record in a directory where a pack was unpacked; raises HarnessError that names the pack."""
    try:
        return read_run(directory)
    except HarnessError as error:
        said = str(error).replace(str(directory), str(pack)).removesuffix("; remove it and run again")
        raise HarnessError(printable(said)) from error


@contextmanager
def _private_place(project: Path) -> Iterator[tuple[Path, str]]:
    """Make a directory of the project, and name the variable that marks what is started there: both end with this."""
    lease = RunLease(checked_root(default_root()), project_name(project))
    directory = lease.directory.path
    try:
        marker = f"_DOGFOOD_RUN_{lease.directory.id}"
        watcher = Watcher(marker)
        try:
            yield directory, marker
        finally:
            watcher.close()
    finally:
        lease.close(keep=())


@contextmanager
def _entered(
    kept: KeptState, directory: Path, marker: str, services_of: Project | None
) -> Iterator[StepPlace]:
    """Return the place to enter in the copy in a directory; meanwhile the services run, if a project is given."""
    kept.move_paths(directory)
    private_directory(directory / "shared")
    place = kept.place_in(directory, marker)
    if services_of is None:
        yield place
        return
    from pytest_dogfood.kept_runs.services import started_services

    journey = services_of.journey(kept.journey.nodeid)
    if journey is None:
        raise HarnessError(f"there is no {kept.journey.nodeid} in {services_of.rootdir}: cd to the project")
    with started_services(
        services_of.graph,
        journey,
        state=directory / kept.state,
        rootdir=services_of.rootdir,
        variables=kept.variables(directory)[0],
        settings=services_of.settings,
    ) as values:
        kept.started = values
        yield replace(place, environment={**place.environment, **values})
