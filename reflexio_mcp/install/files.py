"""Reading and replacing a person's file: whole or not at all, with a copy of what was there."""

import glob
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from reflexio_mcp.install.errors import InstallError, MalformedError

__all__ = ["Original", "copies", "read", "replace"]


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


def read(path: Path) -> Original:
    """Read a file; links are followed, so that what they point at is what gets replaced.

    Raises:
        InstallError: it cannot be read.
    """
    try:
        real = path.resolve()
    except (OSError, RuntimeError):  # a RuntimeError before Python 3.13
        raise InstallError(f"{path} is a link that leads to itself. Nothing was changed.") from None
    try:
        return Original(real, real.read_bytes())
    except FileNotFoundError:
        return Original(real, None)
    except OSError as error:
        raise InstallError(f"{path} cannot be read: {error.strerror}. Nothing was changed.") from None


def replace(original: Original, text: str, *, private: bool = False) -> Path | None:
    """Write a file's new text in one step and return where the old one was copied to.

    Args:
        original: the file as it was read; when it has changed since, nothing is written.
        text: the new text.
        private: nobody but its owner may read it from now on.

    Raises:
        InstallError: it changed in the meantime, or cannot be written.
    """
    path = original.path
    if read(path).data != original.data:
        raise InstallError(
            f"{path} was changed by something else just now. Nothing was written; run this again."
        )
    backup = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if original.data is not None:
            backup = _free_name(path)
            shutil.copy2(path, backup)
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
    """A name for a copy beside a file, which overwrites no earlier copy."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    for ending in ("", *(f"-{number}" for number in range(1, 100))):
        backup = path.with_name(f"{path.name}.{stamp}{ending}.bak")
        if not backup.exists():
            return backup
    raise InstallError(f"{path.parent} is full of copies. Remove old ones and run this again.")


def copies(path: Path) -> list[Path]:
    """The copies that were kept of a file, oldest first."""
    return sorted(path.parent.glob(f"{glob.escape(path.name)}.*.bak"))
