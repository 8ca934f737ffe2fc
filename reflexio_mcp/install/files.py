"""Changes one entry of a client's file, in one step and with a backup."""

import json
import os
import re
import stat
import tempfile
from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from reflexio_mcp import private_files
from reflexio_mcp.install.clients import Client

__all__ = ["ClientFile", "InstallError"]

_STRING_OR_COMMENT: Final = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_STRING_OR_LAST_COMMA: Final = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])')

Table = MutableMapping[str, Any]


class InstallError(Exception):
    """Says what is wrong and what to do. This program has not changed the client's file.

    The client's own command, if it ran before, may have.
    """


@dataclass(slots=True)
class ClientFile:
    """A client's configuration file.

    Args:
        raw: its bytes; `None` without a file.
        document: its content. A TOML document keeps its comments and layout.
        has_comments: it is JSON with comments or trailing commas, which writing would lose.
    """

    client: Client
    path: Path
    raw: bytes | None
    document: Table
    has_comments: bool = False

    @classmethod
    def read(cls, client: Client, path: Path) -> "ClientFile":
        """Read a file. Writing replaces the target of a link; the link stays."""
        path = Path(os.path.realpath(path))
        raw = _read_bytes(path)
        try:
            text = (raw or b"").decode("utf-8-sig")
            if client.format == "toml":
                import tomlkit  # slow, and only one client needs it

                return cls(client, path, raw, tomlkit.parse(text))
            # A string, which is group 1, stays; line breaks stay too, for the line number of an error.
            plain = _STRING_OR_COMMENT.sub(lambda found: found[1] or "\n" * found[0].count("\n"), text)
            plain = _STRING_OR_LAST_COMMA.sub(r"\1", plain)
            document: Any = json.loads(plain if plain.strip() else "{}")
            if not isinstance(document, dict):
                raise ValueError("not an object")
            return cls(client, path, raw, cast("Table", document), has_comments=plain != text)
        except ValueError as error:  # from the decoder, json or tomlkit
            # The error's text may repeat the file.
            line = getattr(error, "lineno", getattr(error, "line", None))
            raise InstallError(
                f"{path} was left alone, because it is not {client.format.upper()}"
                f"{f' (line {line})' if line else ''}. Correct it and run this again."
            ) from None

    @property
    def entries(self) -> dict[str, dict[str, Any]]:
        table: Any = self._servers()
        # Only a table of a TOML file has `unwrap`. A missing section is a plain dict.
        plain: dict[str, Any] = table.unwrap() if hasattr(table, "unwrap") else table
        return {name: entry if isinstance(entry, dict) else {} for name, entry in plain.items()}

    def put(self, name: str, entry: dict[str, Any]) -> None:
        """Change an entry, or remove it if the new one is empty."""
        table = self._servers(create=True)
        table.pop(name, None)
        if entry:
            table[name] = entry

    def _servers(self, *, create: bool = False) -> Table:
        table = self.document
        for name in self.client.section:
            inner: Any = table.setdefault(name, {}) if create else table.get(name, {})
            if not isinstance(inner, MutableMapping):
                raise InstallError(f"{self.path} was left alone, because {name} is not a table. Correct it.")
            table = cast("Table", inner)
        return table

    def write(self, *, private: bool) -> Path | None:
        """Write the document in one step and return the backup. Refuse if the file changed after it was read.

        Args:
            private: only its owner may read the file and its backup.
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
                    file.write(self._new_bytes())
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
        if self.raw is None:
            return None
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        backup = self.path.with_name(f"{self.path.name}.{stamp}.bak")
        try:
            # No earlier backup or link is overwritten.
            private_files.write_new(backup, self.raw)
            backup.chmod(mode)
        except OSError as error:
            raise InstallError(f"No backup could be written to {backup}: {error.strerror}.") from None
        return backup

    def _new_bytes(self) -> bytes:
        before = (self.raw or b"").decode("utf-8-sig")
        if self.client.format == "toml":
            import tomlkit

            text = tomlkit.dumps(self.document).replace("\r\n", "\n")
        else:
            indent = re.search(r"\n([ \t]+)\S", before)
            # An escape may be half a character, which can be written only as an escape.
            escaped = "\\u" in before
            text = json.dumps(self.document, indent=indent[1] if indent else 2, ensure_ascii=escaped) + "\n"
        return (text.replace("\n", "\r\n") if "\r\n" in before else text).encode()


def _read_bytes(path: Path) -> bytes | None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would block
            raise InstallError(f"{path} is not an ordinary file. Nothing was changed.")
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InstallError(f"{path} cannot be read: {error.strerror}. Nothing was changed.") from None
