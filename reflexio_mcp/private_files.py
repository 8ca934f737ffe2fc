"""Files that only the user who runs this process may read: keys, tokens, recovery copies, the store.

What the system refuses is raised as it is: every function but `restrict` may raise `OSError`.
Windows has no such permission bits. There the user's own data folder keeps others out.
"""

import contextlib
import os
import secrets
import stat
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final

__all__ = [
    "create",
    "is_private",
    "keep_secret",
    "lock",
    "locked",
    "make_folder",
    "open_regular",
    "restrict",
    "sync_folder",
]

_POSIX: Final = os.name != "nt"
_MAX_SECRET_BYTES: Final = 1000
_BINARY: Final = getattr(os, "O_BINARY", 0)
_ONLY_WHAT_IS_THERE: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | _BINARY
"""Neither follows a link to another place nor waits for whoever holds the other end of a pipe."""


def make_folder(path: Path) -> None:
    """Make a folder and its parents; the folder itself is for its owner alone. One that exists stays as it is."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def create(path: Path) -> int:
    """Create a file for its owner alone and return a descriptor to write to, for the caller to close.

    Raises:
        FileExistsError: something is there already.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a regular file of this user, and nothing else that may stand in its place, and return its descriptor.

    Args:
        flags: how to open it, as for `os.open`. A file that `O_CREAT` makes is for its owner alone.

    Raises:
        PermissionError: it is a folder, a pipe, a link or a device, or it belongs to somebody else.
    """
    descriptor = os.open(path, flags | _ONLY_WHAT_IS_THERE, 0o600)
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or not _is_ours(about):
        os.close(descriptor)
        raise PermissionError(1, "not a regular file of this user")
    return descriptor


def is_private(about: os.stat_result) -> bool:
    """Whether a file belongs to this user and nobody else may read or write it."""
    return not _POSIX or (_is_ours(about) and not stat.S_IMODE(about.st_mode) & 0o077)


def restrict(path: Path) -> None:
    """Take away what others may do with a file of this user. Does nothing to other people's files.

    The file is not opened: closing a database here would drop the locks that SQLite holds on it.
    """
    with contextlib.suppress(OSError):
        about = path.stat()
        if _POSIX and stat.S_ISREG(about.st_mode) and _is_ours(about) and not is_private(about):
            path.chmod(stat.S_IMODE(about.st_mode) & 0o700)


def lock(descriptor: int, *, seconds: float | None = None) -> None:
    """Keep other processes out until the descriptor is closed. Does nothing where the system cannot lock it.

    Args:
        descriptor: an open file or folder.
        seconds: the longest wait for another process; as long as it takes when `None`.

    Raises:
        TimeoutError: another process still holds the lock.
    """
    if sys.platform == "win32":
        return
    import fcntl

    end = None if seconds is None else time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (fcntl.LOCK_NB if end else 0))
        except BlockingIOError:
            if end and time.monotonic() > end:
                raise TimeoutError from None
            time.sleep(0.05)
        except OSError:
            return
        else:
            return


@contextlib.contextmanager
def locked(folder: Path, *, seconds: float | None = None) -> Generator[None]:
    """Let one process at a time into the block, as `lock` does for a folder."""
    if sys.platform == "win32":  # which does not open folders
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        lock(descriptor, seconds=seconds)
        yield
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    if not _POSIX:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep_secret(path: Path, make: Callable[[], bytes], is_whole: Callable[[bytes], bool]) -> bytes:
    """Return the secret in a file. The first process that asks makes it, and all get the same.

    A file that others could read, that is not this user's or that holds something else is replaced: it protects
    nothing.

    Args:
        path: the file; its folder is made when it is missing.
        make: a new secret.
        is_whole: whether what a file holds is a secret as `make` returns one.
    """
    make_folder(path.parent)
    with locked(path.parent):
        for _ in range(3):
            if (found := _read_secret(path)) is not None and is_whole(found):
                return found
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            # Whole or not at all, and where processes are not locked out, the first of them wins.
            draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
            with os.fdopen(create(draft), "wb") as file:
                file.write(make())
            try:
                with contextlib.suppress(FileExistsError):
                    os.link(draft, path)
            finally:
                draft.unlink()
    raise OSError(0, "it keeps changing")


def _read_secret(path: Path) -> bytes | None:
    """What a private file holds; `None` when there is none that protects a secret."""
    try:
        descriptor = open_regular(path)
    except (FileNotFoundError, PermissionError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(_MAX_SECRET_BYTES) if is_private(os.fstat(file.fileno())) else None


def _is_ours(about: os.stat_result) -> bool:
    return not _POSIX or about.st_uid == os.geteuid()
