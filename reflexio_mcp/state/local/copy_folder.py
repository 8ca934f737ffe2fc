"""Recovery copies as files in a folder.

Only its owner can read a file. Its name says when the copy was made and until when it is kept. A file is trusted only
when it is a regular file of this user and every line of it can be read back.
"""

import contextlib
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from reflexio_mcp import private_files
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.state.recovery_copies import (
    DAY,
    UNFINISHED_SECONDS,
    CopyWriter,
    Line,
    RecoveryCopies,
    RecoveryCopy,
    label_of,
    new_copy_id,
    parsed,
)

__all__ = ["CopyFile", "CopyFolder"]

_NAME = re.compile(r"(\d{10})-(\d{10})-([0-9a-f]{16})-([0-9a-f]{10})-(\d{1,9})(?:-(\d{1,9}))?\.jsonl")
"""When it was made, until when it is kept, whose it is, its id, and how many requests and learnings it holds."""
_UNFINISHED = re.compile(r"\d{10}-(\d{10})-[0-9a-f]{16}-[0-9a-f]{10}\.part")


@dataclass(frozen=True, slots=True)
class CopyFile(RecoveryCopy):
    """A copy and the file that it is."""

    path: Path = Path()


class _FileWriter(CopyWriter):
    def __init__(self, folder: Path, name: str, copy_id: str, kept_until: int) -> None:
        super().__init__(copy_id, kept_until)
        self._folder = folder
        self._name = name
        self._part = folder / f"{name}.part"
        self._file = os.fdopen(private_files.create(self._part), "wb")

    def _write(self, lines: Sequence[bytes]) -> None:
        self._file.writelines(lines)

    def finish(self) -> None:
        self.finished()

    def finished(self) -> Path:
        """Finish the copy and return its file."""
        learnings = f"-{self.learnings}" if self.learnings else ""
        final = self._folder / f"{self._name}-{len(self.ids)}{learnings}.jsonl"
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(final)
        private_files.sync_folder(self._folder)
        return final

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)


class CopyFolder(RecoveryCopies):
    """The recovery copies in a folder.

    Args:
        folder: returns the folder; called at the first use. The first copy creates it.
        days: how long a new copy is kept; 0 means that none are made.
        clock: epoch seconds.
    """

    remedy = "check the files in REFLEXIO_MCP_RECOVERY_DIR and to remove them"

    def __init__(self, folder: Callable[[], Path], days: int, clock: Callable[[], float] = time.time) -> None:
        super().__init__(days)
        self._where = folder
        self._clock = clock

    @cached_property
    def _folder(self) -> Path:
        return self._where()

    def prune(self) -> None:
        """Remove what is over; other files in the folder stay."""
        now = self._clock()
        with contextlib.suppress(OSError):
            if not _is_own(self._folder):
                return
            for path in self._folder.iterdir():
                with contextlib.suppress(OSError):
                    if match := _NAME.fullmatch(path.name):
                        over = int(match[2]) <= now
                    elif _UNFINISHED.fullmatch(path.name):
                        over = path.stat().st_mtime < now - UNFINISHED_SECONDS
                    else:
                        continue
                    if over:
                        path.unlink()

    def begin(self, owner: str) -> CopyWriter:
        began = self._clock()
        now, copy_id = int(began), new_copy_id(began)
        until = now + self.days * DAY
        name = f"{now:010d}-{until:010d}-{label_of(owner)}-{copy_id}"
        private_files.make_folder(self._folder)
        if not _is_own(self._folder):
            raise PermissionError(1, "other users can write to its folder")
        return _FileWriter(self._folder, name, copy_id, until)

    def of(self, owner: str) -> list[CopyFile]:
        found: list[CopyFile] = []
        label, now = label_of(owner), self._clock()
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                match = _NAME.fullmatch(path.name)
                if match and match[3] == label and int(match[2]) > now:
                    made, until, requests, learnings = (int(match[one] or 0) for one in (1, 2, 5, 6))
                    found.append(CopyFile(match[4], made, until, requests, learnings, path))
        return sorted(found, key=lambda copy: (copy.made_at, copy.copy_id), reverse=True)

    def remove(self, owner: str, copy_id: str) -> None:
        for copy in self.of(owner):
            if copy.copy_id == copy_id:
                with contextlib.suppress(OSError):
                    copy.path.unlink(missing_ok=True)

    def read_at(self, copy: RecoveryCopy, place: int) -> RequestWithInteractions:
        assert isinstance(copy, CopyFile)
        with os.fdopen(private_files.open_regular(copy.path), "rb") as file:
            file.seek(place)
            return RequestWithInteractions.model_validate_json(file.readline())

    def _lines(self, copy: RecoveryCopy) -> Iterator[tuple[int, Line]]:
        assert isinstance(copy, CopyFile)
        place = 0
        with os.fdopen(private_files.open_regular(copy.path), "rb") as file:
            for line in file:
                yield place, parsed(line)
                place += len(line)

    def _rewrite(self, owner: str, copy: RecoveryCopy, edited: Callable[[Line], Line | None]) -> None:
        assert isinstance(copy, CopyFile)
        match = _NAME.fullmatch(copy.path.name)
        assert match
        writer = _FileWriter(self._folder, "-".join(match.groups()[:4]), copy.copy_id, copy.kept_until)
        try:
            for _, line in self._lines(copy):
                if isinstance(kept := edited(line), RequestWithInteractions):
                    writer.add([kept])
                elif kept is not None:
                    writer.add_learnings([kept])
            if not (writer.ids or writer.learnings) or writer.finished() != copy.path:
                copy.path.unlink(missing_ok=True)
        finally:
            writer.discard()


def _is_own(folder: Path) -> bool:
    """Return whether only this user can put files into a folder."""
    about = folder.stat()
    return os.name == "nt" or (about.st_uid == os.geteuid() and not stat.S_IMODE(about.st_mode) & 0o022)
