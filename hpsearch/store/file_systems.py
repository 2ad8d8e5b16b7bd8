"""Whether a file lies on a network, where SQLite cannot be trusted with it.

SQLite keeps processes apart with POSIX locks, which network file systems are known to break
(sqlite.org/howtocorrupt.html, 2.1), and indexes its write-ahead log in memory that all processes
share, so that they must be on one machine (sqlite.org/wal.html).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psutil

# Served by other machines, or by several at once.
_NETWORK = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afpfs", "webdav", "ncpfs", "afs", "coda"),
    *("macfuse", "osxfuse"),
    *("ceph", "glusterfs", "lustre", "beegfs", "gpfs", "orangefs", "pvfs2", "panfs", "wekafs"),
    *("gfs2", "ocfs2"),
}
# A folder of the host, seen from a virtual machine: the host does not see the guest's locks, and
# the log's shared memory does not work or is damaged (on WSL 2: microsoft/WSL#2395 and
# gsd-build/gsd-2#5106). Where it is the guest's root nobody else has it open; the sandboxes and
# small machines that containers run in are made so.
_HOST_FOLDERS = {"9p", "virtiofs", "vboxsf", "prl_fs", "vmhgfs"}
# FUSE is sshfs, s3fs, rclone and many more; of these the files are on this machine.
_LOCAL_FUSE = {
    *("fuse.fuse-overlayfs", "fuse.mergerfs", "fuse.bindfs", "fuse.unionfs"),
    *("fuse.gocryptfs", "fuse.encfs", "fuse.cryfs", "fuse.ntfs-3g", "fuse.ext4"),
}
# All others are local. Among them are the two of most containers: tmpfs is memory of this machine,
# and an overlay hands locks and shared memory to the file of its upper layer, which a writer's
# first opening makes there (Linux, Documentation/filesystems/overlayfs.rst, "Non-standard
# behavior": only a file opened before that, to read, is another file).

# A mount point and the type of the file system there, in the order they were mounted.
Mount = tuple[Path, str]


def network_filesystem(path: Path) -> str | None:
    """The type of the network file system that a file lies on, or would lie on.

    Args:
        path: The file, whether it exists or not; symbolic links are followed.

    Returns:
        None where it is local or nobody can tell.
    """
    return network_mount(path.resolve(), _mounts())


def network_mount(path: Path, mounts: Iterable[Mount]) -> str | None:
    """`network_filesystem` of a resolved path on a machine with these mounts."""
    holding = [(point, kind) for point, kind in mounts if path.is_relative_to(point)]
    if not holding:
        return None
    # Of those at one place the last covers the others, as autofs is covered by what it mounts.
    point, kind = max(reversed(holding), key=lambda mount: len(mount[0].parts))
    return kind if _is_remote(kind, point) else None


def _is_remote(kind: str, point: Path) -> bool:
    if kind in _HOST_FOLDERS:
        return point != Path(point.anchor)
    return kind in _NETWORK or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE)


def _mounts() -> list[Mount]:
    """From /proc/mounts on Linux, where a bind mount has the type of what it shows."""
    try:
        return [(Path(m.mountpoint), m.fstype) for m in psutil.disk_partitions(all=True)]
    except (OSError, RuntimeError):  # a container without /proc
        return []
