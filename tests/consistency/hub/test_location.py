"""Which hub is meant, which machine this is, and where SQLite must not live."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_dogfood.consistency.hub.connection import network_file_system, parse_url
from pytest_dogfood.consistency.hub.location import local_hub, locate, require_pinned, this_machine
from pytest_dogfood.consistency.hub.model import HubUsageError, NoHubError, WrongHubError
from pytest_dogfood.consistency.hub.store import Hub

pytestmark = pytest.mark.usefixtures("data_directory")

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/my\\040share rw shared:2 master:1 - nfs4 server:/x rw
31 22 0:41 / /mnt/my\\040share/local rw - xfs /dev/sdb rw
32 22 0:42 / /ssh rw - fuse.sshfs me@host: rw
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "project" / "below"
    path.mkdir(parents=True)
    return path


def test_the_option_comes_first_then_the_environment_then_the_settings(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.parent / "pytest.ini").write_text("[pytest]\ndogfood_hub = ini%20.db\n")
    assert locate(start=project).url == "ini%20.db"
    (project.parent / "pytest.toml").write_text('[pytest]\ndogfood_hub = "toml.db"\n')
    assert locate(start=project).url == "toml.db"
    (project.parent / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\ndogfood_hub = "pyproject.db"\n'
    )
    assert locate(start=project).url == "pyproject.db"
    assert locate(start=project).base == project.parent
    monkeypatch.setenv("DOGFOOD_HUB", "environment.db")
    assert locate(start=project).url == "environment.db"
    assert locate("option.db", start=project).url == "option.db"


def test_the_newer_table_of_pyproject_counts_too(project: Path) -> None:
    (project / "pyproject.toml").write_text('[tool.pytest]\ndogfood_hub = "hub.db"\n')
    location = locate(start=project)
    assert parse_url(location.url, base=location.base).database == str(project / "hub.db")


def test_without_any_name_the_ways_out_are_told_and_nothing_is_made(
    project: Path, data_directory: Path
) -> None:
    with pytest.raises(NoHubError, match="dogfood hub init --local") as lost:
        locate(start=project)
    assert lost.value.exit_status == 2
    assert not data_directory.exists()


def test_the_local_hub_counts_once_it_has_been_made(project: Path) -> None:
    local_hub().parent.mkdir()
    local_hub().touch()
    assert locate(start=project).url == str(local_hub())


@pytest.mark.parametrize(
    "name,content",
    [
        ("pyproject.toml", "[tool"),
        ("pyproject.toml", "[tool.pytest]\ndogfood_hub = 7"),
        ("pytest.ini", "dogfood_hub = x"),
    ],
)
def test_settings_that_cannot_be_read_are_named(project: Path, name: str, content: str) -> None:
    (project / name).write_text(content)
    with pytest.raises(HubUsageError, match=name):
        locate(start=project)


def test_the_nearest_file_that_pins_a_hub_counts(project: Path, sqlite_hub: Hub) -> None:
    require_pinned(sqlite_hub, project)
    above, here = project.parent / "dogfood.yaml", project / "dogfood.yaml"
    above.write_text("hub: {id: '1234'}\n")
    here.write_text("capabilities: {}\n")
    with pytest.raises(WrongHubError, match=rf"^{above} belongs to the hub 1234, but .* {sqlite_hub.id}; "):
        require_pinned(sqlite_hub, project)
    here.write_text(f"hub: {{id: '{sqlite_hub.id.upper()}'}}\n")
    require_pinned(sqlite_hub, project)
    here.write_text("hub: abc\n")
    with pytest.raises(HubUsageError, match=r"expected hub \(a mapping\), not 'abc'"):
        require_pinned(sqlite_hub, project)


def test_a_machine_keeps_its_id(data_directory: Path) -> None:
    assert this_machine(create=False).id == ""
    assert not data_directory.exists()
    made = this_machine()
    assert this_machine() == this_machine(create=False) == made
    assert [path.name for path in data_directory.iterdir()] == ["machine-id"]


def test_a_machine_id_that_is_none_is_not_replaced_in_silence(data_directory: Path) -> None:
    data_directory.mkdir()
    (data_directory / "machine-id").write_text("half")
    with pytest.raises(HubUsageError, match="does not contain a machine id"):
        this_machine()


@pytest.mark.parametrize(
    "path,kind",
    [
        ("/home/me/hub.sqlite", ""),
        ("/mnt/my share/hub.sqlite", "nfs4"),
        ("/mnt/my share/local/hub.sqlite", ""),
        ("/ssh/hub.sqlite", "fuse.sshfs"),
    ],
)
def test_a_network_file_system_is_recognised_by_its_mount(path: str, kind: str) -> None:
    assert network_file_system(Path(path), MOUNTS) == kind


def test_a_machine_whose_id_cannot_be_kept_says_so(data_directory: Path) -> None:
    data_directory.write_text("a file where a directory should be")
    with pytest.raises(HubUsageError, match="DOGFOOD_DATA_DIR"):
        this_machine()


def test_the_data_directory_is_the_users_own_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOGFOOD_DATA_DIR")
    assert local_hub().parent.name == "dogfood"
