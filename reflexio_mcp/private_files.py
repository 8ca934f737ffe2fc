"""Files that only this user may read: keys, tokens, the state and the store.

Windows has no permission bits: there the user's data folder protects these files.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["create", "keep_secret", "make_folder", "restrict", "write_new"]

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


def write_new(path: Path, content: bytes) -> None:
    """Write a new private file. Raises `FileExistsError` instead of replacing one."""
    with os.fdopen(create(path), "wb") as file:
        file.write(content)


def restrict(path: Path) -> None:
    """Remove the permissions of others from a file of this user.

    The file is not opened: closing a database here would drop SQLite's locks on it.
    """
    with contextlib.suppress(OSError):
        about = path.stat()
        if _is_ours(about) and not _is_private(about):
            path.chmod(stat.S_IMODE(about.st_mode) & 0o700)


def keep_secret(path: Path, make: Callable[[], bytes], is_whole: Callable[[bytes], bool]) -> bytes:
    """Return the secret in a file, which the first process makes and all share.

    A file that other users could read, or without a whole secret, is replaced.
    """
    make_folder(path.parent)
    for _ in range(3):
        found = _read_secret(path)
        if found is not None:
            if is_whole(found):
                return found
            path.unlink(missing_ok=True)
        # A hard link appears with its whole content, and fails if another process was first.
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        write_new(draft, make())
        try:
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink()
    raise OSError(0, "the file keeps changing")


def _read_secret(path: Path) -> bytes | None:
    """Return a private file's content: `None` without a file, empty if it is not private."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _ONLY_A_FILE)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link
            return b""
        raise  # The file may be readable later. A new key could not open what the old key sealed.
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(file.fileno())
        return file.read(_MAX_SECRET_BYTES) if _is_ours(about) and _is_private(about) else b""


def _is_ours(about: os.stat_result) -> bool:
    return stat.S_ISREG(about.st_mode) and (not _POSIX or about.st_uid == os.geteuid())


def _is_private(about: os.stat_result) -> bool:
    return not _POSIX or not stat.S_IMODE(about.st_mode) & 0o077
