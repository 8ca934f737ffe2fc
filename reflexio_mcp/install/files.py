"""Reading and replacing a person's file: whole or not at all, one process at a time, with a backup."""

import difflib
import glob
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from reflexio_mcp import private_files
from reflexio_mcp.install.errors import InstallError, MalformedError

__all__ = ["Original", "backups", "difference", "locked", "read", "replace"]

MOST_BYTES: Final = 4 * 1024 * 1024
"""A larger file is no client's configuration, and would take minutes to edit."""

LOCK_SECONDS: Final = 20.0
"""How long one process waits for another to finish its edit."""


@dataclass(frozen=True, slots=True)
class Original:
    """A file as it was found; `data` is `None` when there is none."""

    path: Path
    data: bytes | None

    @property
    def text(self) -> str:
        """Its text, byte-order mark and line ends included.

        Raises:
            MalformedError: it is not UTF-8.
        """
        try:
            return (self.data or b"").decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedError("it is not UTF-8 text") from None


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Keep other processes of this package from editing a client's file.

    The lock is on the file's folder, or on the nearest one that exists, so that no file of it is left anywhere.

    Raises:
        InstallError: another process holds it for too long, the folder cannot be opened, or none exists.
    """
    folder = None
    with ExitStack() as held:
        try:
            while folder != (nearest := _nearest_folder(path)):  # it may be made while we wait for the lock
                held.close()
                folder = nearest
                held.enter_context(private_files.locked(folder, seconds=LOCK_SECONDS))
        except TimeoutError:
            raise InstallError(
                f"Another process is editing {path}. Nothing was changed; run this again when it is done."
            ) from None
        except OSError as error:
            raise InstallError(f"{folder} cannot be opened: {error.strerror}. Nothing was changed.") from None
        yield


def _nearest_folder(path: Path) -> Path:
    for folder in Path(os.path.realpath(path)).parents:
        if folder.is_dir():
            return folder
    raise InstallError(f"{path} is in no folder or drive that exists. Nothing was changed.")


def read(path: Path) -> Original:
    """Read a file; links are followed, so that what they point at is what gets replaced.

    Raises:
        InstallError: it is no ordinary file, is too large, or cannot be read.
    """
    try:
        real = path.resolve()
        about = real.stat()
        if not stat.S_ISREG(about.st_mode):  # a pipe would be waited for
            raise InstallError(f"{path} is not an ordinary file. Nothing was changed.")
        if about.st_size > MOST_BYTES:
            size = f"{about.st_size / 1024 / 1024:.0f} MB"
            raise InstallError(f"{path} is too large for a configuration ({size}). Nothing was changed.")
        return Original(real, real.read_bytes())
    except FileNotFoundError:
        return Original(path.resolve(), None)
    except (OSError, RuntimeError) as error:  # a link to itself is a RuntimeError before Python 3.13
        why = (isinstance(error, OSError) and error.strerror) or "it is a link that leads to itself"
        raise InstallError(f"{path} cannot be read: {why}. Nothing was changed.") from None


def replace(original: Original, text: str, *, private: bool = False) -> Path | None:
    """Write a file's new text in one step and return where the old one was copied to.

    Args:
        original: the file as it was read; when it has changed since, nothing is written.
        text: the new text.
        private: nobody but its owner may read the file and its backup from now on.

    Raises:
        InstallError: it changed in the meantime, or cannot be written.
    """
    path = original.path
    if read(path).data != original.data:
        raise InstallError(f"{path} has changed in the meantime. Nothing was written; run this again.")
    backup = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if original.data is not None:
            backup = _free_name(path)
            shutil.copy2(path, backup)
            if private:
                backup.chmod(0o600)
        handle, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(text.encode("utf-8"))
                out.flush()
                os.fsync(out.fileno())
            if original.data is not None and not private:
                Path(scratch).chmod(stat.S_IMODE(path.stat().st_mode))
            Path(scratch).replace(path)
        except BaseException:
            Path(scratch).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InstallError(f"{path} cannot be written: {error.strerror}. Nothing was changed.") from None
    return backup


def _free_name(path: Path) -> Path:
    """A name for a backup beside a file, which overwrites no earlier one."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    for ending in ("", *(f"-{number}" for number in range(1, 100))):
        backup = path.with_name(f"{path.name}.{stamp}{ending}.bak")
        if not backup.exists():
            return backup
    raise InstallError(f"{path.parent} is full of backups. Remove old ones and run this again.")


def backups(path: Path) -> list[Path]:
    """The backups of a file, oldest first."""
    return sorted(path.parent.glob(f"{glob.escape(path.name)}.*.bak"))


_COMMENT: Final = {"json": r"//[^\r\n]*|/\*.*?\*/", "toml": r"#[^\r\n]*"}
_STRING: Final = {
    "json": r'"(?:[^"\\\r\n]|\\.)*"',
    "toml": r"\"{3}.*?\"{3}|'{3}.*?'{3}|\"(?:[^\"\\\r\n]|\\.)*\"|'[^'\r\n]*'",
}


def difference(original: Original, text: str, *, shown: Iterable[object], hidden: Iterable[str] = ()) -> str:
    """What would change, as a unified difference with every string masked that this package did not write.

    Args:
        original: the file as it was read.
        text: what it would become.
        shown: strings, and objects whose strings, may be read; names always may.
        hidden: strings that may not be read in any case.
    """
    kind = "toml" if original.path.suffix == ".toml" else "json"
    pattern = re.compile(
        rf"(?P<string>{_STRING[kind]})(?P<name>[ \t]*[:=])?|(?P<comment>{_COMMENT[kind]})", re.DOTALL
    )
    known = set(_strings(list(shown))) - set(hidden)

    def mask(match: re.Match[str]) -> str:
        if match["comment"]:
            return match["comment"][:2].rstrip() + " ..."
        if match["name"] or match["string"][1:-1] in known:
            return match[0]
        # A new value has to look different, or its line would not count as changed.
        return '"***"' if match["string"] in original.text else '"*** (new)"'

    before, after = (pattern.sub(mask, one).splitlines() for one in (original.text, text))
    name = str(original.path)
    return "\n".join(difflib.unified_diff(before, after, name, name, n=2, lineterm=""))


def _strings(value: object) -> Iterator[str]:
    """All strings inside a value, as they are and as a file writes them."""
    if isinstance(value, str):
        yield from (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    elif isinstance(value, dict):
        for pair in cast("dict[Any, Any]", value).items():
            yield from _strings(list(pair))
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _strings(inner)
