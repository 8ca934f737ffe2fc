"""Recovery copies: what a deletion takes, kept in a local file for some days.

One file a deletion, readable by its owner alone, complete on the disk before anything is deleted. A copy belongs
to the scope (backend and user) it was made in; no other scope sees it. The file's name carries when it was made
and until when it is kept, so that it goes on time also after the setting has changed. What stands in a file is
believed only when it is this user's own regular file and every line of it is what was written.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.deletion.plan import PlannedRequest, planned_request
from reflexio_mcp.traffic.errors import NotRecorded

__all__ = ["Copies", "Copy", "CopyWriter", "Held", "contents", "read_at"]

DAY: Final = 86_400
HALF_WRITTEN_SECONDS: Final = 3_600
"""After this long a file that was never finished is left over from a crash."""

REFUSAL = (
    "Nothing was deleted: its recovery copy cannot be written ({why}). Ask the operator to make room, or pass "
    "erase=true to delete without a copy."
)

_NAME = re.compile(r"(\d{10})-(\d{10})-([0-9a-f]{16})-([0-9a-f]{10})-(\d{1,9})\.jsonl")


@dataclass(frozen=True, slots=True)
class Copy:
    """One deletion that can be undone. Times are epoch seconds."""

    copy_id: str
    made_at: int
    kept_until: int
    requests: int
    path: Path


@dataclass(frozen=True, slots=True)
class Held:
    """What was found in recovery copies.

    Args:
        items: the requests, the newest copy's first, each id once.
        copies: the copies that hold one of them.
        unreadable: copies that could not be read, so that nobody knows what they hold.
    """

    items: tuple[PlannedRequest, ...] = ()
    copies: tuple[Copy, ...] = ()
    unreadable: tuple[Copy, ...] = ()


class CopyWriter:
    """A copy being written. It exists for others only after `finish`."""

    def __init__(self, folder: Path, name: str, copy_id: str) -> None:
        self.copy_id = copy_id
        self.ids: set[str] = set()
        self._folder = folder
        self._name = name
        self._part = folder / f"{name}.part"
        file = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(file, "w", encoding="utf-8")

    def add(self, items: Sequence[RequestWithInteractions]) -> None:
        """Write some requests, each a line, as the API returned them.

        Raises:
            NotRecorded: the disk does not take them.
        """
        try:
            for item in items:
                self._file.write(json.dumps(item.model_dump(mode="json"), ensure_ascii=True) + "\n")
                self.ids.add(item.request.request_id)
        except OSError as error:
            raise _refused(error) from error

    def finish(self) -> Path:
        """Make the copy durable and give it its name.

        Raises:
            NotRecorded: the disk does not take it.
        """
        final = self._folder / f"{self._name}-{len(self.ids)}.jsonl"
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(final)
            _sync_folder(self._folder)
        except OSError as error:
            raise _refused(error) from error
        return final

    def discard(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)


class Copies:
    """The recovery copies in a folder.

    Args:
        folder: where they are, asked for at the first use; made when the first copy is written.
        days: how long a new one is kept; 0 writes none.
        clock: epoch seconds.
    """

    def __init__(self, folder: Callable[[], Path], days: int, clock: Callable[[], float] = time.time) -> None:
        self.days = days
        self._where = folder
        self._clock = clock

    @cached_property
    def _folder(self) -> Path:
        return self._where()

    def prune(self) -> None:
        """Remove copies whose time is over, and what crashes left behind."""
        now = self._clock()
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                name = path.name.removesuffix(".part")
                match = _NAME.fullmatch(name)
                over = match is not None and int(match[2]) <= now
                with contextlib.suppress(OSError):
                    stale = path.name.endswith(".part") and path.stat().st_mtime < now - HALF_WRITTEN_SECONDS
                    if over or stale:
                        path.unlink()

    def begin(self, owner: str) -> CopyWriter:
        """Start the copy of a deletion.

        Raises:
            NotRecorded: the folder or the file cannot be made.
        """
        now = int(self._clock())
        copy_id = secrets.token_hex(5)
        name = f"{now:010d}-{now + self.days * DAY:010d}-{_label(owner)}-{copy_id}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return CopyWriter(self._folder, name, copy_id)
        except OSError as error:
            raise _refused(error) from error

    def of(self, owner: str) -> list[Copy]:
        """The copies of a scope, the newest first."""
        found: list[Copy] = []
        label, now = _label(owner), self._clock()
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                match = _NAME.fullmatch(path.name)
                if match and match[3] == label and int(match[2]) > now:
                    found.append(Copy(match[4], int(match[1]), int(match[2]), int(match[5]), path))
        return sorted(found, key=lambda copy: (copy.made_at, copy.copy_id), reverse=True)

    def find(self, owner: str, copy_id: str) -> Copy | None:
        """A copy of this scope by its id."""
        return next((copy for copy in self.of(owner) if copy.copy_id == copy_id), None)

    def remove(self, owner: str, copy_id: str) -> None:
        """Remove one copy."""
        if copy := self.find(owner, copy_id):
            with contextlib.suppress(OSError):
                copy.path.unlink(missing_ok=True)

    def holding_ids(self, owner: str, request_ids: Collection[str]) -> Held:
        """What the copies of a scope hold of these requests."""
        wanted = set(request_ids)
        return self.holding(owner, lambda item: item.request.request_id in wanted)

    def holding(self, owner: str, matches: Callable[[RequestWithInteractions], bool]) -> Held:
        """What the copies of a scope hold of the requests that match."""
        items: dict[str, PlannedRequest] = {}
        copies: list[Copy] = []
        unreadable: list[Copy] = []
        for copy in self.of(owner):
            try:
                found = [planned_request(item) for item in _items(copy.path) if matches(item)]
            except (OSError, ValueError):
                unreadable.append(copy)
                continue
            if found:
                copies.append(copy)
            for item in found:
                items.setdefault(item.request_id, item)
        return Held(tuple(items.values()), tuple(copies), tuple(unreadable))

    def forget(self, owner: str, request_ids: Collection[str]) -> tuple[int, list[Copy]]:
        """Take requests out of every copy of a scope.

        Returns:
            How many copies were changed, and those that could not be read or written anew: they are as they were.
        """
        gone = set(request_ids)
        changed, failed = 0, list[Copy]()
        for copy in self.of(owner):
            try:
                if any(item.request.request_id in gone for item in _items(copy.path)):
                    self._write_anew(copy, gone)
                    changed += 1
            except (OSError, ValueError, NotRecorded):
                failed.append(copy)
        return changed, failed

    def _write_anew(self, copy: Copy, gone: Collection[str]) -> None:
        name = copy.path.name.removesuffix(".jsonl").rpartition("-")[0]
        writer = CopyWriter(self._folder, name, copy.copy_id)
        try:
            for item in _items(copy.path):
                if item.request.request_id not in gone:
                    writer.add([item])
            if not writer.ids or writer.finish() != copy.path:
                copy.path.unlink(missing_ok=True)
        finally:
            writer.discard()


def contents(copy: Copy) -> dict[str, int]:
    """The request ids of a copy, the oldest request first, each with its place in the file.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is not what was written.
    """
    found: list[tuple[int, str, int]] = []
    place = 0
    with _opened(copy.path) as file:
        for line in file:
            request = RequestWithInteractions.model_validate_json(line).request
            found.append((request.created_at, request.request_id, place))
            place += len(line)
    return {request_id: start for _, request_id, start in sorted(found)}


def read_at(copy: Copy, start: int) -> RequestWithInteractions:
    """The request at a place in a copy.

    Raises:
        OSError, ValueError: it cannot be read any more.
    """
    with _opened(copy.path) as file:
        file.seek(start)
        return RequestWithInteractions.model_validate_json(file.readline())


def _items(path: Path) -> Iterator[RequestWithInteractions]:
    with _opened(path) as file:
        for line in file:
            yield RequestWithInteractions.model_validate_json(line)


def _opened(path: Path) -> BinaryIO:
    # Neither a link to elsewhere nor a pipe that would be waited for.
    careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.open(path, os.O_RDONLY | careful)
    about = os.fstat(file)
    if not stat.S_ISREG(about.st_mode) or (os.name != "nt" and about.st_uid != os.geteuid()):
        os.close(file)
        raise PermissionError(1, "not a file of this user")
    return os.fdopen(file, "rb")


def _label(owner: str) -> str:
    return hashlib.sha256(b"recovery\0" + owner.encode()).hexdigest()[:16]


def _refused(error: OSError) -> NotRecorded:
    return NotRecorded(REFUSAL.format(why=error.strerror or "an input/output error"))


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
