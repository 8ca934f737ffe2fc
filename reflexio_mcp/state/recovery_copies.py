"""Recovery copies: the requests and learnings that a deletion removes, kept for some days.

Each deletion has one copy, which is complete on the disk before anything is deleted. It belongs to the scope (backend
and user) it was made in; no other scope sees it. It says itself until when it is kept, so it is removed on time even
after the setting has changed.
"""

import hashlib
import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Generic, TypeAlias, TypeVar

import anyio
import anyio.to_thread

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction, UserPlaybook, UserProfile

__all__ = [
    "CopiedLearning",
    "CopyWriter",
    "Found",
    "Line",
    "RecoveryCopies",
    "RecoveryCopy",
    "copy_of_turns",
    "is_of",
    "label_of",
    "line_of",
    "new_copy_id",
    "parsed",
]

T = TypeVar("T")

CopiedLearning: TypeAlias = UserProfile | UserPlaybook
Line: TypeAlias = RequestWithInteractions | CopiedLearning

DAY: Final = 86_400
PRUNE_SECONDS: Final = 3_600
UNFINISHED_SECONDS: Final = 3_600
"""An unfinished copy that is older than this was left behind by a crash."""

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


class CopyWriter(ABC):
    """A copy that is being written. Nobody else sees it before `finish`.

    Everything here blocks, and raises `OSError` where the copy cannot be kept.

    Args:
        copy_id: its id.
        kept_until: epoch seconds.
    """

    def __init__(self, copy_id: str, kept_until: int) -> None:
        self.copy_id = copy_id
        self.kept_until = kept_until
        self.ids: set[str] = set()
        self.learnings = 0

    def add(self, items: Sequence[RequestWithInteractions]) -> None:
        """Write requests as the backend returned them."""
        self._write([line_of(item) for item in items])
        self.ids.update(item.request.request_id for item in items)

    def add_learnings(self, rows: Iterable[CopiedLearning]) -> None:
        """Write learnings as the API returned them."""
        lines = list(map(line_of, rows))
        self._write(lines)
        self.learnings += len(lines)

    @abstractmethod
    def finish(self) -> None:
        """Make the copy durable and let it be seen."""

    @abstractmethod
    def discard(self) -> None:
        """Leave nothing behind of what is not finished."""

    @abstractmethod
    def _write(self, lines: Sequence[bytes]) -> None:
        """Add lines to what is there."""


class RecoveryCopies(ABC):
    """The recovery copies of all processes that share the state. Everything here blocks, but for `keep_pruned`.

    What reads or changes one copy raises `OSError` where that cannot be done, and `ValueError` where a line is neither
    a stored request nor a learning. Methods for all copies of a scope raise `OSError` where it is not known which
    there are.

    Args:
        days: how long a new copy is kept; 0 means that none are made.
    """

    remedy: ClassVar[str]
    """What the operator does about copies that cannot be read or changed, as the end of "Ask the operator to"."""

    def __init__(self, days: int) -> None:
        self.days = days

    @abstractmethod
    def prune(self) -> None:
        """Remove copies whose days are over, and what crashes left behind; where that fails, another time."""

    async def keep_pruned(self) -> None:
        """Prune now and then every hour, until cancelled."""
        while True:
            # A server that stops does not wait for it.
            await anyio.to_thread.run_sync(self.prune, abandon_on_cancel=True)
            await anyio.sleep(PRUNE_SECONDS)

    @abstractmethod
    def begin(self, owner: str) -> CopyWriter:
        """Start the copy of a deletion, or raise `OSError` where none can be made."""

    @abstractmethod
    def of(self, owner: str) -> Sequence[RecoveryCopy]:
        """The copies of a scope, the newest first."""

    def find(self, owner: str, copy_id: str) -> RecoveryCopy | None:
        """A copy of this scope by its id."""
        return next((copy for copy in self.of(owner) if copy.copy_id == copy_id), None)

    @abstractmethod
    def remove(self, owner: str, copy_id: str) -> None:
        """Remove one copy; where that fails, it stays until its days are over."""

    def contents(self, copy: RecoveryCopy) -> dict[str, int]:
        """Return the request ids of a copy, oldest request first, each with its place in the copy."""
        found = [
            (line.request.created_at, line.request.request_id, place)
            for place, line in self._lines(copy)
            if isinstance(line, RequestWithInteractions)
        ]
        return {request_id: place for _, request_id, place in sorted(found)}

    def first(self, copy: RecoveryCopy) -> Line | None:
        """One request or learning of a copy, to tell whose it is; `None` where it cannot be read."""
        try:
            return next((line for _, line in self._lines(copy)), None)
        except (OSError, ValueError):
            return None

    @abstractmethod
    def read_at(self, copy: RecoveryCopy, place: int) -> RequestWithInteractions:
        """Return the request at a place of a copy."""

    def learnings_in(self, copy: RecoveryCopy) -> list[CopiedLearning]:
        """Return the learnings of a copy."""
        return [line for _, line in self._lines(copy) if not isinstance(line, RequestWithInteractions)]

    def search(self, owner: str, pick: Callable[[RequestWithInteractions], T | None]) -> Found[T]:
        """Look through every copy of a scope.

        Args:
            pick: what to return for a request, or `None` to pass over it.
        """

        def picked(copy: RecoveryCopy) -> dict[str, T]:
            found: dict[str, T] = {}
            for _, item in self._lines(copy):
                if isinstance(item, RequestWithInteractions) and (one := pick(item)) is not None:
                    found.setdefault(item.request.request_id, one)
            return found

        return self._found(owner, picked)

    def learnings(self, owner: str, pick: Callable[[CopiedLearning], bool]) -> Found[CopiedLearning]:
        """Look for learnings in every copy of a scope."""

        def picked(copy: RecoveryCopy) -> dict[str, CopiedLearning]:
            found = filter(pick, self.learnings_in(copy))
            return {f"{copy.copy_id} {place}": row for place, row in enumerate(found)}

        return self._found(owner, picked)

    def _found(self, owner: str, picked: Callable[[RecoveryCopy], dict[str, T]]) -> Found[T]:
        """What is picked from every copy of a scope; of two with the same name the one in the newer copy."""
        items: dict[str, T] = {}
        copies: list[RecoveryCopy] = []
        unreadable: list[RecoveryCopy] = []
        for copy in self.of(owner):
            try:
                found = picked(copy)
            except (OSError, ValueError):
                unreadable.append(copy)
                continue
            if found:
                copies.append(copy)
            for name, one in found.items():
                items.setdefault(name, one)
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
        turns = self._turns(owner, gone)
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
        turns = self._turns(owner, (request_id,), is_gone)

        def without(item: RequestWithInteractions) -> RequestWithInteractions | None:
            if not is_of(item, (request_id,)):
                return item
            kept = [turn for turn in item.interactions if not is_gone(turn)]
            if len(kept) == len(item.interactions):
                return item
            return item.model_copy(update={"interactions": kept}) if kept else None

        return self._change(owner, without, lambda row: forgotten(row, turns))

    def _turns(
        self,
        owner: str,
        request_ids: Collection[str],
        is_gone: Callable[[StoredInteraction], bool] = lambda turn: True,
    ) -> set[int]:
        """The ids of these requests' interactions that go: a learning can be in another copy than what fed it."""
        turns: set[int] = set()

        def note(item: RequestWithInteractions) -> None:
            if is_of(item, request_ids):
                turns.update(turn.interaction_id for turn in item.interactions if is_gone(turn))

        self.search(owner, note)
        return turns

    def _change(
        self,
        owner: str,
        edit: Callable[[RequestWithInteractions], RequestWithInteractions | None],
        forgotten: Callable[[CopiedLearning], bool],
    ) -> tuple[int, list[RecoveryCopy]]:
        changed, failed = 0, list[RecoveryCopy]()

        def edited(line: Line) -> Line | None:
            if isinstance(line, RequestWithInteractions):
                return edit(line)
            return None if forgotten(line) else line

        for copy in self.of(owner):
            try:
                if any(edited(line) is not line for _, line in self._lines(copy)):
                    self._rewrite(owner, copy, edited)
                    changed += 1
            except (OSError, ValueError):
                failed.append(copy)
        return changed, failed

    @abstractmethod
    def _lines(self, copy: RecoveryCopy) -> Iterator[tuple[int, Line]]:
        """The lines of a copy, each with its place."""

    @abstractmethod
    def _rewrite(self, owner: str, copy: RecoveryCopy, edited: Callable[[Line], Line | None]) -> None:
        """Replace each line of a copy, or remove it, in one step; when it raises, the copy is as it was."""


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


def line_of(item: Line) -> bytes:
    """A request or a learning as one line."""
    row = item.model_dump(mode="json")
    if not isinstance(item, RequestWithInteractions):
        row = {_KIND: "profile" if isinstance(item, UserProfile) else "user_playbook", "row": row}
    return json.dumps(row, ensure_ascii=True).encode() + b"\n"


def parsed(line: bytes) -> Line:
    """What a line holds.

    Raises:
        ValueError: it is neither a stored request nor a learning.
    """
    if not line.startswith(_LEARNING):
        return RequestWithInteractions.model_validate_json(line)
    read = json.loads(line)
    model = UserProfile if read[_KIND] == "profile" else UserPlaybook
    return model.model_validate(read.get("row"))


def new_copy_id(now: float) -> str:
    """An id for a copy: of two that begin in one second, the later one's is greater.

    Args:
        now: epoch seconds, with the parts of a second.
    """
    return f"{int(now % 1 * 1_000_000):05x}{secrets.randbits(20):05x}"


def label_of(owner: str) -> str:
    """What stands for a scope beside its copies."""
    return hashlib.sha256(b"recovery\0" + owner.encode()).hexdigest()[:16]
