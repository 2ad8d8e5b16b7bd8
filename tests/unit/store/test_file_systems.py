"""Which kind of file system a file lies on."""

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from hpsearch.store.file_systems import network_filesystem

MOUNTS = [
    ("/", "ext4"),
    ("/mnt/team", "nfs4"),
    ("/mnt/team/scratch", "xfs"),
    ("/far", "fuse.sshfs"),
]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/a.db", None),
        ("/mnt/team/a.db", "nfs4"),
        ("/mnt/team/scratch/a.db", None),
        ("/mnt/teams/a.db", None),
        ("/far/a.db", "fuse.sshfs"),
    ],
)
def test_the_innermost_mount_decides(monkeypatch, path, kind):
    """A file belongs to the longest mount point that holds it, and only network ones are named."""
    mounts = [SimpleNamespace(mountpoint=point, fstype=name) for point, name in MOUNTS]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounts)
    assert network_filesystem(Path(path)) == kind


def test_a_disk_of_this_machine_is_none(tmp_path):
    """The folder that tests write to is local."""
    assert network_filesystem(tmp_path / "a.db") is None
