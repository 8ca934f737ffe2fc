"""A client's file: reading it, changing one entry, and replacing it whole or not at all, with a backup beside it."""

import json
import os
import re
import stat
import tempfile
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, cast

from reflexio_mcp import private_files

__all__ = ["ClientFile", "InstallError", "servers"]

MAX_BYTES: Final = 4 * 1024 * 1024
"""A larger file is not a client's configuration."""

_COMMENT: Final = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_LAST_COMMA: Final = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])')

Table = MutableMapping[str, Any]


class InstallError(Exception):
    """One or two sentences about what is wrong and what to do. Nothing was written."""


@dataclass(slots=True)
class ClientFile:
    """A client's configuration file as it was read.

    Args:
        path: the file itself, if a link led to it.
        kind: json or toml.
        raw: its bytes; `None` if there is no file.
        document: what it contains. A TOML document keeps its comments and layout.
        has_comments: whether it is JSON with comments or trailing commas, which would be lost by writing it.
    """

    path: Path
    kind: Literal["json", "toml"]
    raw: bytes | None
    document: Table
    has_comments: bool = False

    @classmethod
    def read(cls, path: Path, kind: Literal["json", "toml"]) -> "ClientFile":
        """Read a file. A link is followed, so that the file it points at is the one that is replaced.

        Raises:
            InstallError: it is not an ordinary file, it cannot be read, or it is not JSON or TOML.
        """
        path = Path(os.path.realpath(path))
        raw = _read_bytes(path)
        try:
            text = (raw or b"").decode("utf-8-sig")
            if kind == "toml":
                import tomlkit  # takes long to import, and one client needs it

                return cls(path, kind, raw, tomlkit.parse(text))
            with suppress(ValueError):
                return cls(path, kind, raw, _object(json.loads(text or "{}")))
            plain = _LAST_COMMA.sub(r"\1", _COMMENT.sub(r"\1", text))
            return cls(
                path, kind, raw, _object(json.loads(plain if plain.strip() else "{}")), bool(text.strip())
            )
        except ValueError as error:  # of the decoder, json and tomlkit alike
            line = getattr(error, "lineno", getattr(error, "line", None))
            where = f" (line {line})" if line else ""
            raise InstallError(
                f"{path} was left alone, because it is not {kind.upper()}{where}. Correct it and run this again."
            ) from None

    def write(self, *, private: bool) -> Path | None:
        """Write the document in one step, and return where the old file was copied to.

        Args:
            private: nobody but its owner may read the file and its backup from now on.

        Raises:
            InstallError: the file changed after it was read, or it cannot be written.
        """
        if _read_bytes(self.path) != self.raw:
            raise InstallError(f"{self.path} changed meanwhile. Nothing was written; run this again.")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            mode = 0o600 if private or self.raw is None else stat.S_IMODE(self.path.stat().st_mode)
            backup = self.back_up(mode)
            handle, scratch = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(self._written())
                    file.flush()
                    os.fsync(file.fileno())
                Path(scratch).chmod(mode)
                Path(scratch).replace(self.path)
            except BaseException:
                Path(scratch).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise InstallError(f"{self.path} cannot be written: {error.strerror}.") from None
        return backup

    def back_up(self, mode: int = 0o600) -> Path | None:
        """Copy the file beside itself, if there is one, and return where to."""
        if self.raw is None:
            return None
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        backup = self.path.with_name(f"{self.path.name}.{stamp}.bak")
        # Made anew: neither an earlier backup nor a link of this name is written to.
        with os.fdopen(private_files.create(backup), "wb") as file:
            file.write(self.raw)
        backup.chmod(mode)
        return backup

    def _written(self) -> bytes:
        before = (self.raw or b"").decode("utf-8-sig")
        if self.kind == "toml":
            import tomlkit

            text = tomlkit.dumps(self.document).replace("\r\n", "\n")
        else:
            indent = re.search(r"\n([ \t]+)\S", before)
            escaped = "\\u" in before  # an escape may stand for half a character, which cannot be written
            text = json.dumps(self.document, indent=indent[1] if indent else 2, ensure_ascii=escaped) + "\n"
        return (text.replace("\n", "\r\n") if "\r\n" in before else text).encode()


def servers(document: Table, section: tuple[str, ...], *, create: bool = False) -> Table:
    """The table of servers in a document; an empty one if there is none.

    Args:
        create: put the missing tables into the document.

    Raises:
        InstallError: something else is in its place.
    """
    table = document
    for name in section:
        inner: Any = table.setdefault(name, {}) if create else table.get(name, {})
        if not isinstance(inner, MutableMapping):
            raise InstallError(f"The file was left alone, because {name} is not a table in it. Correct it.")
        table = cast("Table", inner)
    return table


def _object(value: Any) -> Table:
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return cast("Table", value)


def _read_bytes(path: Path) -> bytes | None:
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):  # a pipe would be waited for
            raise InstallError(f"{path} is not an ordinary file. Nothing was changed.")
        if about.st_size > MAX_BYTES:
            raise InstallError(f"{path} is too large for a configuration. Nothing was changed.")
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InstallError(f"{path} cannot be read: {error.strerror}. Nothing was changed.") from None
