"""The folders of the embedded services: one process at a time, and nobody else's eyes."""

import fcntl
import os
import stat
from pathlib import Path
from typing import TextIO

from config.embedded.errors import AlreadyRunning, CannotStart


def lock(home: Path) -> TextIO:
    """Claim `home` for as long as the returned file stays open; the kernel lets go of it when we die.

    Raises `AlreadyRunning` with the holder's process id when it is taken, `CannotStart` when it is not writable.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (home / "lock").open("a+")
    except PermissionError:
        raise CannotStart(f"{home} cannot be written. Set TASKLOOM_HOME to a folder of yours.") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise AlreadyRunning(
            f"{home} is in use by another Taskloom (process {holder}). Stop that one first, or set TASKLOOM_HOME to "
            "another folder.",
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def is_locked(home: Path) -> bool:
    """Whether some process, perhaps this one, has claimed `home`."""
    path = home / "lock"
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def make_private(folder: Path, *, owner: int) -> None:
    """Make `folder` with mode 0700 for the user id `owner`, or verify that the one there can be trusted.

    Raises `CannotStart` when it belongs to somebody else or is a link: in a shared temporary folder anybody can
    put something under a name that can be guessed.
    """
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), owner):
            raise CannotStart(
                f"{folder} exists but is not a folder of ours. Remove it, or set TASKLOOM_HOME to another folder.",
            ) from None
        folder.chmod(0o700)
    if folder.stat().st_uid != owner:
        os.chown(folder, owner, -1)
