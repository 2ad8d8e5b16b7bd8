"""Which file systems SQLite can be trusted with, by tables of mounts as machines have them."""

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from hpsearch.errors import DatabaseError
from hpsearch.store.database import NETWORK_VARIABLE, open_database
from hpsearch.store.file_systems import network_filesystem, network_mount

# A machine with a local disk and everything else somebody might mount.
MOUNTS = [
    (Path(point), kind)
    for point, kind in {
        "/": "ext4",
        "/proc": "proc",
        "/tmp": "tmpfs",  # noqa: S108 - a mount point, nothing is written there
        "/home": "nfs4",
        "/home/me/scratch": "xfs",
        "/mnt/share": "cifs",
        "/mnt/c": "9p",
        "/mnt/ssh": "fuse.sshfs",
        "/mnt/usb": "fuseblk",
        "/mnt/layers": "fuse.fuse-overlayfs",
        "/mnt/bound": "nfs4",
        "/srv": "lustre",
        "/var/lib/box": "overlay",
    }.items()
]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/study.db", None),
        ("/tmp/study.db", None),  # noqa: S108
        ("/home/me/study.db", "nfs4"),
        ("/home/me/scratch/study.db", None),
        ("/home/me/scratchy/study.db", "nfs4"),
        ("/homes/study.db", None),
        ("/mnt/share/deep/down/study.db", "cifs"),
        ("/mnt/c/Users/me/study.db", "9p"),
        ("/mnt/ssh/study.db", "fuse.sshfs"),
        ("/mnt/usb/study.db", None),
        ("/mnt/layers/study.db", None),
        ("/mnt/bound/study.db", "nfs4"),
        ("/srv/study.db", "lustre"),
        ("/var/lib/box/study.db", None),
    ],
)
def test_the_longest_mount_point_decides(path, kind):
    """A file has the type of the innermost mount that holds it; local types are None."""
    assert network_mount(Path(path), MOUNTS) == kind
    assert network_mount(Path(path), MOUNTS[::-1]) == kind


def test_the_last_mount_covers_those_before_it():
    """Of two mounts at one place only the later one can be seen."""
    place = Path("/data")
    assert network_mount(place / "a.db", [(place, "autofs"), (place, "nfs")]) == "nfs"
    assert network_mount(place / "a.db", [(place, "nfs"), (place, "ext4")]) is None


@pytest.mark.parametrize("kind", ["9p", "virtiofs"])
def test_a_guests_own_root_is_local(kind):
    """A sandbox whose whole root is served by its host may keep its files there."""
    assert network_mount(Path("/work/a.db"), [(Path("/"), kind)]) is None
    assert network_mount(Path("/work/a.db"), [(Path("/work"), kind)]) == kind
    assert network_mount(Path("/work/a.db"), [(Path("/"), "nfs4")]) == "nfs4"


def test_nothing_is_known_without_a_table():
    """Where no table can be read nothing is called a network."""
    assert network_mount(Path("/work/a.db"), []) is None


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    """A folder that the machine's table of mounts calls NFS."""
    share = tmp_path / "share"
    share.mkdir()
    table = [
        SimpleNamespace(mountpoint="/", fstype="ext4"),
        SimpleNamespace(mountpoint=str(share.resolve()), fstype="nfs4"),
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: table)
    return share


def test_links_are_followed(mounted, tmp_path):
    """What counts is where the file itself lies, not the name it is reached by."""
    (tmp_path / "here").symlink_to(mounted)
    (tmp_path / "study.db").symlink_to(mounted / "study.db")
    assert network_filesystem(tmp_path / "here" / "study.db") == "nfs4"
    assert network_filesystem(tmp_path / "study.db") == "nfs4"
    assert network_filesystem(mounted / ".." / "study.db") == "nfs4"  # a link again
    assert network_filesystem(tmp_path / "other.db") is None


def test_this_machines_table_is_read(tmp_path):
    """The real table of mounts has an entry for every path, and tests do not lie on a network."""
    assert any(tmp_path.is_relative_to(p.mountpoint) for p in psutil.disk_partitions(all=True))
    assert network_filesystem(tmp_path / "study.db") is None


def test_a_file_on_a_network_is_not_made(mounted):
    """The line says where it lies, why that is wrong and what else to do; nothing is created."""
    with pytest.raises(DatabaseError) as caught:
        open_database(f"sqlite:///{mounted / 'study.db'}", create=True)
    message = str(caught.value)
    assert "\n" not in message
    for words in ("study.db", "nfs4", "locks", "PostgreSQL", f"{NETWORK_VARIABLE}=allow"):
        assert words in message
    assert list(mounted.iterdir()) == []


def test_a_file_on_a_network_is_read_but_not_worked_on(mounted, monkeypatch):
    """Looking is not refused, nor is anything where the variable allows it."""
    url = f"sqlite:///{mounted / 'study.db'}"
    monkeypatch.setenv(NETWORK_VARIABLE, "allow")
    open_database(url, create=True).close()
    monkeypatch.setenv(NETWORK_VARIABLE, "yes")
    open_database(url).close()
    with pytest.raises(DatabaseError, match="network file system"):
        open_database(url, write=True)
