"""Recovery copies: the requests and learnings that a deletion removes, kept in a local file for some days.

Each deletion has one file. Only its owner can read it, and it is complete on the disk before anything is deleted.
A copy belongs to the scope (backend and user) it was made in; no other scope sees it. The file's name says when the
copy was made and until when it is kept, so it is removed on time even after the setting has changed. A file is
trusted only when it is a regular file of this user and every line of it can be read back.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Generic, TypeAlias, TypeVar

import anyio
import anyio.to_thread

from reflexio_mcp import private_files
from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction, UserPlaybook, UserProfile

__all__ = [
    "CopiedLearning",
    "CopyWriter",
    "Found",
    "RecoveryCopies",
    "RecoveryCopy",
    "contents",
    "copy_of_turns",
    "is_of",
    "learnings_in",
    "read_at",
]

T = TypeVar("T")

CopiedLearning: TypeAlias = UserProfile | UserPlaybook

DAY: Final = 86_400
PRUNE_SECONDS: Final = 3_600
UNFINISHED_SECONDS: Final = 3_600
"""An unfinished file that is older than this was left behind by a crash."""

_NAME = re.compile(r"(\d{10})-(\d{10})-([0-9a-f]{16})-([0-9a-f]{10})-(\d{1,9})(?:-(\d{1,9}))?\.jsonl")
"""When it was made, until when it is kept, whose it is, its id, and how many requests and learnings it holds."""
_UNFINISHED = re.compile(r"\d{10}-(\d{10})-[0-9a-f]{16}-[0-9a-f]{10}\.part")


_KIND: Final = "learning"
_LEARNING: Final = f'{{"{_KIND}": '.encode()
"""How the line of a learning begins."""


@dataclass(frozen=True, slots=True)
class RecoveryCopy:
    """One deletion that can be undone. Times are epoch seconds."""

    copy_id: str
    made_at: int
    kept_until: int
    requests: int
    path: Path
    learnings: int = 0


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """What a search of recovery copies found.

    Args:
        items: what was picked, newest copy first, each request once.
        copies: the copies that hold one of them.
        unreadable: copies that could not be read; what they hold is not known.
    """

    items: tuple[T, ...] = ()
    copies: tuple[RecoveryCopy, ...] = ()
    unreadable: tuple[RecoveryCopy, ...] = ()


class CopyWriter:
    """A copy that is being written. Nobody else sees it before `finish`."""

    def __init__(self, folder: Path, name: str, copy_id: str) -> None:
        self.copy_id = copy_id
        self.ids: set[str] = set()
        self.learnings = 0
        self._folder = folder
        self._name = name
        self._part = folder / f"{name}.part"
        self._file = os.fdopen(private_files.create(self._part), "w", encoding="utf-8")

    def add(self, items: Sequence[RequestWithInteractions]) -> None:
        """Write requests as the API returned them, one a line.

        Raises:
            OSError: the disk does not take them.
        """
        for item in items:
            self._file.write(json.dumps(item.model_dump(mode="json"), ensure_ascii=True) + "\n")
            self.ids.add(item.request.request_id)

    def add_learnings(self, rows: Iterable[CopiedLearning]) -> None:
        """Write learnings as the API returned them, one a line.

        Raises:
            OSError: the disk does not take them.
        """
        for row in rows:
            line = {_KIND: "profile" if isinstance(row, UserProfile) else "user_playbook"}
            self._file.write(
                json.dumps(line | {"row": row.model_dump(mode="json")}, ensure_ascii=True) + "\n"
            )
            self.learnings += 1

    def finish(self) -> Path:
        """Make the copy durable and give it its name.

        Raises:
            OSError: the disk does not take it.
        """
        learnings = f"-{self.learnings}" if self.learnings else ""
        final = self._folder / f"{self._name}-{len(self.ids)}{learnings}.jsonl"
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(final)
        private_files.sync_folder(self._folder)
        return final

    def discard(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)


class RecoveryCopies:
    """The recovery copies in a folder.

    Args:
        folder: returns the folder; called at the first use. The first copy creates it.
        days: how long a new copy is kept; 0 means that none are made.
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
        """Remove copies whose days are over, and what crashes left behind. Other files in the folder stay."""
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

    async def keep_pruned(self) -> None:
        """Prune now and then every hour, until cancelled."""
        while True:
            await anyio.to_thread.run_sync(self.prune)
            await anyio.sleep(PRUNE_SECONDS)

    def begin(self, owner: str) -> CopyWriter:
        """Start the copy of a deletion.

        Raises:
            OSError: the folder or the file cannot be made, or others may write to the folder.
        """
        now = int(self._clock())
        copy_id = secrets.token_hex(5)
        name = f"{now:010d}-{now + self.days * DAY:010d}-{_label(owner)}-{copy_id}"
        private_files.make_folder(self._folder)
        if not _is_own(self._folder):
            raise PermissionError(1, "other users can write to its folder")
        return CopyWriter(self._folder, name, copy_id)

    def of(self, owner: str) -> list[RecoveryCopy]:
        """The copies of a scope, the newest first."""
        found: list[RecoveryCopy] = []
        label, now = _label(owner), self._clock()
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                match = _NAME.fullmatch(path.name)
                if match and match[3] == label and int(match[2]) > now:
                    made, until, requests, learnings = (int(match[one] or 0) for one in (1, 2, 5, 6))
                    found.append(RecoveryCopy(match[4], made, until, requests, path, learnings))
        return sorted(found, key=lambda copy: (copy.made_at, copy.copy_id), reverse=True)

    def find(self, owner: str, copy_id: str) -> RecoveryCopy | None:
        """A copy of this scope by its id."""
        return next((copy for copy in self.of(owner) if copy.copy_id == copy_id), None)

    def remove(self, owner: str, copy_id: str) -> None:
        """Remove one copy."""
        if copy := self.find(owner, copy_id):
            with contextlib.suppress(OSError):
                copy.path.unlink(missing_ok=True)

    def search(self, owner: str, pick: Callable[[RequestWithInteractions], T | None]) -> Found[T]:
        """Look through every copy of a scope.

        Args:
            pick: what to return for a request, or `None` to pass over it.
        """
        items: dict[str, T] = {}
        copies: list[RecoveryCopy] = []
        unreadable: list[RecoveryCopy] = []
        for copy in self.of(owner):
            found: dict[str, T] = {}
            try:
                for item in _items(copy.path):
                    if (picked := pick(item)) is not None:
                        found.setdefault(item.request.request_id, picked)
            except (OSError, ValueError):
                unreadable.append(copy)
                continue
            if found:
                copies.append(copy)
            items |= {one: picked for one, picked in found.items() if one not in items}
        return Found(tuple(items.values()), tuple(copies), tuple(unreadable))

    def holding(self, owner: str, request_ids: Collection[str]) -> Found[str]:
        """Look for these ids in every copy of a scope."""
        wanted = set(request_ids)

        def pick(item: RequestWithInteractions) -> str | None:
            return item.request.request_id if is_of(item, wanted) else None

        return self.search(owner, pick)

    def forget(
        self,
        owner: str,
        request_ids: Collection[str],
        forgotten: Callable[[CopiedLearning, Collection[int]], bool],
    ) -> tuple[int, list[RecoveryCopy]]:
        """Remove requests and learnings from every copy of a scope.

        Args:
            forgotten: whether a copied learning goes; it is given the ids of all interactions that go.

        Returns:
            How many copies were changed, and the copies that could not be read or rewritten; those are unchanged.
        """
        gone = set(request_ids)
        turns: set[int] = set()

        def note(item: RequestWithInteractions) -> None:
            if is_of(item, gone):
                turns.update(turn.interaction_id for turn in item.interactions)

        # A learning can be in another copy than the request that fed it.
        self.search(owner, note)
        return self._change(
            owner, lambda item: None if is_of(item, gone) else item, lambda row: forgotten(row, turns)
        )

    def forget_turns(
        self,
        owner: str,
        request_id: str,
        is_gone: Callable[[StoredInteraction], bool],
        forgotten: Callable[[CopiedLearning, Collection[int]], bool],
    ) -> tuple[int, list[RecoveryCopy]]:
        """Remove interactions of a request from every copy of a scope; the rest is as for `forget`."""
        turns: set[int] = set()

        def note(item: RequestWithInteractions) -> None:
            if is_of(item, (request_id,)):
                turns.update(turn.interaction_id for turn in item.interactions if is_gone(turn))

        self.search(owner, note)

        def without(item: RequestWithInteractions) -> RequestWithInteractions | None:
            if not is_of(item, (request_id,)):
                return item
            kept = [turn for turn in item.interactions if not is_gone(turn)]
            if len(kept) == len(item.interactions):
                return item
            return item.model_copy(update={"interactions": kept}) if kept else None

        return self._change(owner, without, lambda row: forgotten(row, turns))

    def learnings(self, owner: str, pick: Callable[[CopiedLearning], bool]) -> Found[CopiedLearning]:
        """Look for learnings in every copy of a scope."""
        items: list[CopiedLearning] = []
        copies: list[RecoveryCopy] = []
        unreadable: list[RecoveryCopy] = []
        for copy in self.of(owner):
            try:
                found = [row for row in learnings_in(copy) if pick(row)]
            except (OSError, ValueError):
                unreadable.append(copy)
                continue
            if found:
                copies.append(copy)
            items += found
        return Found(tuple(items), tuple(copies), tuple(unreadable))

    def _change(
        self,
        owner: str,
        edit: Callable[[RequestWithInteractions], RequestWithInteractions | None],
        forgotten: Callable[[CopiedLearning], bool],
    ) -> tuple[int, list[RecoveryCopy]]:
        changed, failed = 0, list[RecoveryCopy]()

        def goes(line: RequestWithInteractions | CopiedLearning) -> bool:
            is_request = isinstance(line, RequestWithInteractions)
            return edit(line) is not line if is_request else forgotten(line)

        for copy in self.of(owner):
            try:
                if any(map(goes, _lines(copy.path))):
                    self._rewrite(copy, edit, forgotten)
                    changed += 1
            except (OSError, ValueError):
                failed.append(copy)
        return changed, failed

    def _rewrite(
        self,
        copy: RecoveryCopy,
        edit: Callable[[RequestWithInteractions], RequestWithInteractions | None],
        forgotten: Callable[[CopiedLearning], bool],
    ) -> None:
        match = _NAME.fullmatch(copy.path.name)
        assert match
        writer = CopyWriter(self._folder, "-".join(match.groups()[:4]), copy.copy_id)
        try:
            for item in _lines(copy.path):
                if not isinstance(item, RequestWithInteractions):
                    if not forgotten(item):
                        writer.add_learnings([item])
                elif kept := edit(item):
                    writer.add([kept])
            if not (writer.ids or writer.learnings) or writer.finish() != copy.path:
                copy.path.unlink(missing_ok=True)
        finally:
            writer.discard()


def copy_of_turns(item: RequestWithInteractions, copy_id: str) -> RequestWithInteractions:
    """Give deleted interactions the id of a request of their own, under which they can be stored again.

    The service adds nothing to a stored request. The interactions still name the request that they were in.
    """
    name = f"{item.request.request_id}-turns-{copy_id}"
    return item.model_copy(update={"request": item.request.model_copy(update={"request_id": name})})


def is_of(item: RequestWithInteractions, request_ids: Collection[str]) -> bool:
    """Whether a copied request is one of these, or holds interactions of one of them."""
    return item.request.request_id in request_ids or any(
        turn.request_id in request_ids for turn in item.interactions
    )


def contents(copy: RecoveryCopy) -> dict[str, int]:
    """Return the request ids of a copy, oldest request first, each with its offset in the file.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is not a stored request.
    """
    found: list[tuple[int, str, int]] = []
    place = 0
    with os.fdopen(private_files.open_regular(copy.path), "rb") as file:
        for line in file:
            item = _parsed(line)
            if isinstance(item, RequestWithInteractions):
                found.append((item.request.created_at, item.request.request_id, place))
            place += len(line)
    return {request_id: start for _, request_id, start in sorted(found)}


def read_at(copy: RecoveryCopy, start: int) -> RequestWithInteractions:
    """Return the request at an offset of a copy.

    Raises:
        OSError, ValueError: it can no longer be read.
    """
    with os.fdopen(private_files.open_regular(copy.path), "rb") as file:
        file.seek(start)
        return RequestWithInteractions.model_validate_json(file.readline())


def learnings_in(copy: RecoveryCopy) -> list[CopiedLearning]:
    """Return the learnings of a copy.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is neither a stored request nor a learning.
    """
    return [line for line in _lines(copy.path) if not isinstance(line, RequestWithInteractions)]


def _items(path: Path) -> Iterator[RequestWithInteractions]:
    return (line for line in _lines(path) if isinstance(line, RequestWithInteractions))


def _lines(path: Path) -> Iterator[RequestWithInteractions | CopiedLearning]:
    with os.fdopen(private_files.open_regular(path), "rb") as file:
        yield from map(_parsed, file)


def _parsed(line: bytes) -> RequestWithInteractions | CopiedLearning:
    if not line.startswith(_LEARNING):
        return RequestWithInteractions.model_validate_json(line)
    read = json.loads(line)
    model = UserProfile if read[_KIND] == "profile" else UserPlaybook
    return model.model_validate(read.get("row"))


def _is_own(folder: Path) -> bool:
    """Return whether only this user can put files into a folder."""
    about = folder.stat()
    return os.name == "nt" or (about.st_uid == os.geteuid() and not stat.S_IMODE(about.st_mode) & 0o022)


def _label(owner: str) -> str:
    return hashlib.sha256(b"recovery\0" + owner.encode()).hexdigest()[:16]
