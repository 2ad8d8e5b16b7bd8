"""Which kind of file system a file lies on."""

from __future__ import annotations

from pathlib import Path

import psutil

# File systems whose locks and shared memory SQLite cannot trust (https://sqlite.org/wal.html:
# "WAL does not work over a network filesystem").
_NETWORK = {
    *("nfs", "nfs4", "cifs", "smbfs", "smb3", "9p", "afs", "lustre", "ceph", "glusterfs"),
    *("beegfs", "gpfs", "ncpfs", "webdav", "davfs"),
}
_NETWORK_FUSE = ("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone")


def network_filesystem(path: Path) -> str | None:
    """The type of the network file system that holds `path`; None where it is local or unknown."""
    target = path.resolve()
    mounts = [m for m in psutil.disk_partitions(all=True) if target.is_relative_to(m.mountpoint)]
    # Of two mounts on one folder the later one hides the other.
    holder = max(reversed(mounts), key=lambda m: len(m.mountpoint), default=None)
    kind = "" if holder is None else holder.fstype.lower()
    return kind if kind in _NETWORK or kind.startswith(_NETWORK_FUSE) else None
