"""Whether a file lies on a network file system, where SQLite cannot keep writers apart."""

from __future__ import annotations

import re
from pathlib import Path

_NETWORK = re.compile(
    r"(nfs\d*|cifs|smb\w*|afs|9p|ncpfs|coda|ceph|glusterfs|lustre|beegfs|gpfs|ocfs2|gfs2|davfs|vboxsf|vmhgfs"
    r"|fuse\.(sshfs|vmhgfs-fuse|glusterfs\S*|s3fs|rclone|davfs\S*|ceph\S*|juicefs|gcsfuse|smb\S*|nfs\S*))"
)
_ESCAPED = re.compile(r"\\([0-7]{3})")


def network_file_system(path: Path, mounts: str | None = None) -> str:
    """Give the type of the network file system that a path lies on; empty where it is local or unknown.

    `mounts` has the format of Linux's /proc/self/mountinfo, which is read if it is not given.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return ""
    kind = _type_at(path.resolve(), mounts)
    return kind if _NETWORK.fullmatch(kind) else ""


def _type_at(path: Path, mounts: str) -> str:
    found = {mount: kind for mount, kind in map(_parsed, mounts.splitlines()) if kind}
    for place in (path, *path.parents):
        if str(place) in found:  # of several mounts at one place the last one covers the others
            return found[str(place)]
    return ""


def _parsed(line: str) -> tuple[str, str]:
    """Split a line of mountinfo into mount point and type: the type comes right after a lone dash."""
    before, _, after = line.partition(" - ")
    words = before.split(" ")
    if len(words) < 6 or not after:
        return "", ""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), words[4]), after.split(" ")[0]
