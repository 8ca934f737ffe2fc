"""Files that only this user may read: keys, tokens, the state and the store.

Windows has no permission bits: there the user's data folder protects these files.
"""

import contextlib
import errno
import os
import secrets
import stat
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["create", "keep_secret", "make_empty", "make_folder", "new_file", "restrict", "write_new"]

_POSIX: Final = os.name != "nt"
_MAX_SECRET_BYTES: Final = 1000
_BINARY: Final = getattr(os, "O_BINARY", 0)
_ONLY_A_FILE: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | _BINARY
"""Flags to follow no link and not block on a pipe."""


def make_folder(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def create(path: Path) -> int:
    """Create a private file and return its descriptor, which the caller closes."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)


_making_empty: Final = threading.Lock()


def make_empty(path: Path) -> None:
    """Create an empty private file for SQLite, unless there is one. SQLite would give it wider permissions.

    Whoever opens a database calls this first. Closing a file drops all locks that this process has on it, and no thread
    can have any on the new file yet.
    """
    with _making_empty, contextlib.suppress(FileExistsError):
        os.close(create(path))


def write_new(path: Path, content: bytes) -> None:
    """Write a new private file, or none at all. Raises `FileExistsError` instead of replacing one."""
    with new_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def new_file(path: Path) -> Generator[BinaryIO]:
    """Write a private file that appears under its name when it is whole and on disk.

    Raises:
        FileExistsError: there is a file of this name, which stays as it was.
    """
    if path.exists() or path.is_symlink():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(create(draft), "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _put_in_place(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _put_in_place(draft: Path, path: Path) -> None:
    """Give a whole file its name. Raises `FileExistsError` if another process was first."""
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise
        draft.rename(path)


def restrict(path: Path) -> None:
    """Remove the permissions of others from a file of this user.

    The file is not opened: closing a database here would drop SQLite's locks on it.
    """
    with contextlib.suppress(OSError):
        about = path.stat()
        if _is_our_file(about) and not _is_private(about):
            path.chmod(stat.S_IMODE(about.st_mode) & 0o700)


class UnusableSecret(OSError):
    """A file that is there and protects no secret of this user.

    Args:
        problem: the predicate of a sentence about the file, such as `is a link`.
        advice: what a person has to do.
    """

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(0, problem)
        self.problem = problem
        self.advice = advice


def read_secret(path: Path) -> bytes | None:
    """Return the content of a private file; `None` without a file.

    Raises `UnusableSecret` for a link, for what is no file, and for a file of another user or that others can read.
    """
    try:
        about = path.lstat()
        if stat.S_ISLNK(about.st_mode):
            raise UnusableSecret("is a link", "put the file itself in its place")
        if not stat.S_ISREG(about.st_mode):
            raise UnusableSecret("is not a file", "move it away and put the file back")
        if not _is_our_file(about):
            raise UnusableSecret(
                "belongs to another user",
                "run this as that user, or make the user of this server its only owner (chown, and chmod 600)",
            )
        descriptor = os.open(path, os.O_RDONLY | _ONLY_A_FILE)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(file.fileno())
        if not (_is_our_file(about) and _is_private(about)):
            raise UnusableSecret("can be read by other users", "give it the permissions 600")
        return file.read(_MAX_SECRET_BYTES)


def make_secret(path: Path, content: bytes) -> None:
    """Make a private file with a secret, unless another process was first."""
    make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        write_new(path, content)


def keep_secret(path: Path, make: Callable[[], bytes], is_whole: Callable[[bytes], bool]) -> bytes:
    """Return a secret from a file which the first process makes and all share.

    The secret must be one that can be replaced: a file that other users could read, or without a whole secret, gets
    a new one.
    """
    for _ in range(3):
        try:
            found = read_secret(path)
        except UnusableSecret:
            found = b""  # no whole secret, so it is replaced
        if found is not None:
            if is_whole(found):
                return found
            path.unlink(missing_ok=True)
        make_secret(path, make())
    raise OSError(0, "the file keeps changing")


def _is_our_file(about: os.stat_result) -> bool:
    return stat.S_ISREG(about.st_mode) and (not _POSIX or about.st_uid == os.geteuid())


def _is_private(about: os.stat_result) -> bool:
    return not _POSIX or not stat.S_IMODE(about.st_mode) & 0o077
