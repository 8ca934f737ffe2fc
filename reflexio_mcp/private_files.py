"""Files that only the user who runs this process may read: keys, tokens, recovery copies, the store.

What the system refuses is raised as it is: every function but `restrict` may raise `OSError`.
Windows has no such permission bits. There the user's own data folder keeps others out.
"""

import contextlib
import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final

__all__ = ["create", "keep_secret", "make_folder", "restrict"]

_POSIX: Final = os.name != "nt"
_MAX_SECRET_BYTES: Final = 1000
_BINARY: Final = getattr(os, "O_BINARY", 0)
_ONLY_A_FILE: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | _BINARY
"""Neither follows a link to another place nor waits for whoever has the other end of a pipe."""


def make_folder(path: Path) -> None:
    """Make a folder and its parents; the folder itself is for its owner alone. One that exists stays as it is."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def create(path: Path) -> int:
    """Create a file for its owner alone and return a descriptor to write to, for the caller to close.

    Raises:
        FileExistsError: something is there already.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)


def restrict(path: Path) -> None:
    """Take away what others may do with a file of this user. Does nothing to other people's files.

    The file is not opened: closing a database here would drop the locks that SQLite has on it.
    """
    with contextlib.suppress(OSError):
        about = path.stat()
        if _is_ours(about) and not _is_private(about):
            path.chmod(stat.S_IMODE(about.st_mode) & 0o700)


def keep_secret(path: Path, make: Callable[[], bytes], is_whole: Callable[[bytes], bool]) -> bytes:
    """Return the secret in a file. The first process that asks makes it, and all get the same.

    A file that others could read, that is not this user's or that contains something else is replaced: it protects
    nothing.

    Args:
        path: the file; its folder is made if it is missing.
        make: a new secret.
        is_whole: whether the content of a file is a secret as `make` returns one.
    """
    make_folder(path.parent)
    with _locked(path.parent):
        for _ in range(3):
            if (found := _read_secret(path)) is not None and is_whole(found):
                return found
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            # Whole or not at all; on Windows, where processes are not locked out, the first of them wins.
            draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
            with os.fdopen(create(draft), "wb") as file:
                file.write(make())
            try:
                with contextlib.suppress(FileExistsError):
                    os.link(draft, path)
            finally:
                draft.unlink()
    raise OSError(0, "it keeps changing")


@contextlib.contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Let one process at a time into the block, if the system can lock a folder."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read_secret(path: Path) -> bytes | None:
    """The content of a private file; `None` if there is none that protects a secret."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _ONLY_A_FILE)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):  # no file, or a link
            return None
        raise  # a file that cannot be read now may be read later, and what it seals too
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(file.fileno())
        return file.read(_MAX_SECRET_BYTES) if _is_ours(about) and _is_private(about) else None


def _is_ours(about: os.stat_result) -> bool:
    """Whether it is an ordinary file of this user."""
    return stat.S_ISREG(about.st_mode) and (not _POSIX or about.st_uid == os.geteuid())


def _is_private(about: os.stat_result) -> bool:
    return not _POSIX or not stat.S_IMODE(about.st_mode) & 0o077
