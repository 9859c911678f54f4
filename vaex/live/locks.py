"""Who holds a directory: asked of the kernel's own list of locks, since to try a lock is to take it for a moment.

A trainer that began in that moment would find its directory taken, and refuse it.
"""

import os
import re
from collections import defaultdict
from pathlib import Path

LIST = Path("/proc/locks")
LINE = re.compile(r"\d+: FLOCK +\w+ +WRITE +(-?\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) ")
"""A lock that somebody has (a waiting one has `->`): process, device and inode."""


class Locks:
    """The locks that processes of this machine hold at one moment."""

    def __init__(self) -> None:
        self._holders: dict[int, list[tuple[int, int]]] = defaultdict(list)
        try:
            text = LIST.read_text(encoding="ascii", errors="replace")
        except OSError:
            text = None
        self.known = text is not None
        for process, major, minor, inode in LINE.findall(text or ""):
            self._holders[int(inode)].append((int(process), os.makedev(int(major, 16), int(minor, 16))))

    def held(self, directory: Path) -> bool | None:
        """Whether a process holds a directory's lock; None on a system that has no such list."""
        try:
            found = (directory / ".lock").stat()
        except OSError:
            return False
        if not self.known:
            return None
        holders = self._holders.get(found.st_ino, [])
        return any(device == found.st_dev or _has_open(process, directory) for process, device in holders)


def _has_open(process: int, directory: Path) -> bool:
    """Whether a process has the lock's file open: of some file systems (btrfs) the list names another device."""
    wanted = (directory / ".lock").resolve()
    try:
        return any(each.readlink() == wanted for each in Path(f"/proc/{process}/fd").iterdir())
    except OSError:  # it has ended, or is somebody else's
        return False
