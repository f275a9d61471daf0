"""What the place of a queue is worth: its file system, its mount, its owner.  Only reads."""

import os
import re
import stat
from pathlib import Path
from typing import Literal, NamedTuple

Answer = Literal["ok", "warn", "refuse"]


class Verdict(NamedTuple):
    """What to do about the place of a queue, and why, in one line ("" if ok)."""

    answer: Answer
    message: str = ""


_LOCAL = frozenset(
    {"ext4", "ext3", "ext2", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "reiserfs", "nilfs2"}
)
_VOLATILE = frozenset({"tmpfs", "ramfs"})
_REMOTE = re.compile(
    r"nfs4?|cifs|smb3|smbfs|9p|virtiofs|fuse(blk|\..*)?|ceph|afs|lustre|gfs2|ocfs2|glusterfs"
)
_WEAK_OPTIONS = frozenset({"nobarrier", "barrier=0", "data=writeback"})


def filesystem_warning(path: str | os.PathLike[str], *, strict: bool = False) -> Verdict:
    """Judge the file system under `path` by what its syncs, locks and renames are worth.

    Refused: network and FUSE file systems. Warned of: overlay, weak mount options, unknown kinds,
    and, unless `strict` (then refused), those that lose everything at power-off. What a lying disk
    or ZFS with sync=disabled does can't be seen from here.
    """
    kind, options = _mount_of(path)
    lost: Answer = "refuse" if strict else "warn"
    if _REMOTE.fullmatch(kind):
        return Verdict(
            "refuse", f"{path} is on {kind}: its locks and syncs are not to be relied on"
        )
    if kind in _VOLATILE:
        return Verdict(lost, f"{path} is on {kind}: nothing there survives a power cut")
    if kind == "overlay":
        if "volatile" in options:
            return Verdict(lost, f"{path} is on a volatile overlay: every sync is omitted")
        return Verdict("warn", f"{path} is on an overlay: it is as durable as its upper layer")
    if weak := sorted(_WEAK_OPTIONS & options):
        return Verdict("warn", f"{path} is mounted with {', '.join(weak)}: a sync may not be one")
    if kind not in _LOCAL:
        return Verdict("warn", f"{path} is on {kind or 'an unknown file system'}: untested")
    return Verdict("ok")


def ownership_warning(path: str | os.PathLike[str]) -> Verdict:
    """Judge who else can change the directory: refuse one of another user or writable by all."""
    status = Path(path).stat()
    if status.st_uid not in {os.geteuid(), 0}:
        return Verdict("refuse", f"{path} belongs to user {status.st_uid}, neither you nor root")
    if status.st_mode & stat.S_IWOTH:
        return Verdict(
            "refuse", f"{path} is writable by everybody (mode {status.st_mode & 0o7777:o})"
        )
    if status.st_mode & stat.S_IWGRP:
        return Verdict(
            "warn", f"{path} is writable by its group (mode {status.st_mode & 0o7777:o})"
        )
    return Verdict("ok")


def _mount_of(path: str | os.PathLike[str]) -> tuple[str, frozenset[str]]:
    """Return the file system's name and all its mount options, "" and none if /proc doesn't say.

    By the mount's number, not by st_dev: btrfs and overlayfs give files other device numbers.
    """
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        facts = Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii")
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", frozenset()
    finally:
        os.close(fd)
    number = re.search(r"^mnt_id:\s*(\d+)$", facts, re.MULTILINE)
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if number and left[0] == number[1]:
            return right[0], frozenset(left[5].split(",") + right[-1].split(","))
    return "", frozenset()
