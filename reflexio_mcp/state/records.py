"""What the state records and returns. Times are epoch seconds."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

__all__ = [
    "CapReached",
    "Claimed",
    "CodeUsed",
    "Copied",
    "CopyNote",
    "Deed",
    "Deletion",
    "Erasure",
    "Intention",
    "JobNumber",
    "LearningDeed",
    "LearningDeeds",
    "LookAgain",
    "Meant",
    "MustGo",
    "Name",
    "Noted",
    "Owner",
    "RecoveryCopy",
    "RestoreIntention",
]

NameKind = Literal["request", "interaction", "learning", "text", "user", "session", "requests_of"]

_LETTERS: Final[dict[NameKind, str]] = {
    "request": "r",
    "interaction": "i",
    "learning": "l",
    "text": "t",
    "user": "u",
    "session": "s",
    "requests_of": "o",
}

_KINDS: Final[dict[str, NameKind]] = {letter: kind for kind, letter in _LETTERS.items()}

Outcome = Literal["complete", "incomplete", "partly_restored", "restored"]

Deed = Literal["deleted", "corrected", "put_back"]

LearningDeeds = Mapping[str, Mapping[Deed, Sequence[str]]]
"""What a job has done to learnings that are or were in use: their ids, by user and deed."""


class Name(str):
    """A name by which an erasure finds recovery copies: a letter for its kind and an id, such as `r:trip-1`.

    The columns of the state have `r:` and a keyed tag of the name instead. A `text` is the digest of what an item says.
    By `requests_of`, only copies of a user's requests are found; by `user`, those of learnings, too.
    """

    __slots__ = ()

    @classmethod
    def of(cls, kind: NameKind, id_: str | int) -> "Name":
        return cls(f"{cls.prefix(kind)}{id_}")

    @staticmethod
    def prefix(kind: NameKind) -> str:
        """What names of a kind begin with. In the columns of the state, their tags begin with it, too."""
        return f"{_LETTERS[kind]}:"

    @property
    def kind(self) -> NameKind:
        return _KINDS[self.partition(":")[0]]

    @property
    def id(self) -> str:
        return self.partition(":")[2]


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of deletions and recovery copies.

    A user owns the copies of their own data, whoever deleted it. An owner without a user owns every copy of the
    account.

    Args:
        account: the backend and the organisation, not the API key: keys change, copies stay. For the embedded store,
            the random id of its file: another file at the same place has other requests under the same numbers.
        caller: the caller whose hourly cap counts.
        earlier_account: the account in records of a version that did not know the id of this store.
    """

    account: str
    user: str = ""
    caller: str = ""
    earlier_account: str = ""


class JobNumber(int):
    """The number of a recorded deletion or restore, for the process that carries it out.

    Args:
        sealed: the sealed intention of its record, which no other record has. After a state was removed, another record
            has the same number.
    """

    sealed: bytes

    def __new__(cls, number: int, sealed: bytes) -> "JobNumber":
        self = super().__new__(cls, number)
        self.sealed = sealed
        return self


@dataclass(frozen=True, slots=True)
class Intention:
    """A deletion that is about to begin.

    Args:
        target: what is deleted, in words.
        number: items that the hourly cap counts.
        planned: ids of the requests.
        back: id and user of each learning that becomes current again.
        erases: of an erasure: the names of what it is about to erase, by user.
        facts: content of the first log line.
        call: all that makes it the same call as another one. Only a tag of it is recorded, because it has searched
            words.
    """

    tool: str
    target: str
    number: int
    code: str = ""
    planned: Sequence[str] = ()
    back: Sequence[tuple[str, str]] = ()
    erases: Mapping[str, Sequence[Name]] = field(default_factory=dict[str, Sequence[Name]])
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    call: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RestoreIntention:
    """A restore that is about to begin.

    Args:
        deletion: the number of the deletion whose copy is restored.
        number: items of the copy.
        seconds: the longest time in which it stores anything.
        facts: content of the first log line.
    """

    deletion: int
    number: int
    seconds: float
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Deletion(NamedTuple):
    """A recorded deletion, correction or restore.

    Args:
        own: whether the owner for whom it is read made it, or sees every user.
        gone: number of items that were deleted, or restored; 0 until the end is recorded.
        chain: of the last line of the audit log about it; empty until its end is recorded.
        finished: `None` until its end is recorded and, of a restore, until nothing that it sent can still be stored.
        restores: the number of the deletion whose copy is restored; 0 if this is no restore.
        may_return: number of erased items that a restore, or a deletion that makes a learning current again, may have
            stored again, and that still have to be looked for.
        began: the first line of the audit log about it; empty if the log lacks it.
        damaged: its row was changed, or its line of the log. What cannot be read of it is empty.
        back: id and user of each learning that it meant to make current again.
        erases: of an erasure: the names of what it meant to erase, by user. They are requests, interactions, and
            learnings with the digests of their texts.
        call: the tag of its call; empty for a restore, and in records of earlier versions.
    """

    number: int
    at: float
    own: bool
    gone: int
    finished: float | None
    outcome: Outcome | Literal[""]
    chain: str
    restores: int
    may_return: int
    target: str
    asked: int
    planned: list[str]
    receipt: str
    began: str = ""
    damaged: bool = False
    back: Sequence[tuple[str, str]] = ()
    erases: Mapping[str, Sequence[Name]] = MappingProxyType({})
    call: str = ""


class ErasedBefore(NamedTuple):
    """What was stored again although it had been erased.

    Args:
        items: how many items.
        deletions: the numbers of the erasures.
    """

    items: int
    deletions: Sequence[int]


class Noted(NamedTuple):
    """A line of the audit log about something besides deletions and restores."""

    at: float
    line: str


class LearningDeed(NamedTuple):
    """What a job has done to a learning, as the audit log says.

    Args:
        job: the number of the deletion, correction or restore.
    """

    at: float
    job: int
    user: str
    deed: Deed
    learning_id: str


@dataclass(frozen=True, slots=True)
class Copied:
    """One request, interaction or learning.

    Args:
        names: names by which an erasure finds the copy. For a request or a learning, the first is its own. For an
            interaction, the first is that of its request, and a later one that of the request as which it is restored.
            Names of interactions, `i:USER/…`, are those in a request and the sources of a learning, so that an erasure
            of the request finds the learning.
        said: a digest of what each interaction in it says; empty once the copy is kept.
        request_says: a digest of all that its request says; empty once the copy is kept.
        deletion: the number of the deletion that has kept it.
    """

    kind: str
    id: str
    user: str
    names: Sequence[Name]
    content: str
    said: Sequence[str] = ()
    request_says: str = ""
    deletion: int = 0

    @property
    def restored_id(self) -> str:
        """The id under which it is restored: a learning has its own, an interaction becomes a request."""
        if self.kind not in ("request", "interaction"):
            return self.id
        # An interaction has two such names: of its request, and then of the one that it becomes.
        *_, becomes = (name.id for name in self.names if name.kind == "request")
        return becomes


@dataclass(frozen=True, slots=True)
class Meant:
    """What an erasure names of a recovery copy. The copy can contain more.

    Args:
        parts: of a request that is not named itself, the digests of its named interactions, each with how many of its
            other interactions say the same and stay. Empty: the whole item is named.
        said: of a request that is named, a digest of what each interaction says.
        stay: ids of stored learnings that say the same and stay.
        corrected: the id of the learning of which only an earlier text is named. The learning stays.
    """

    parts: Mapping[str, int] = field(default_factory=dict[str, int])
    said: Sequence[str] = ()
    stay: Sequence[str] = ()
    corrected: str = ""


def whole(copied: Copied) -> Meant | None:
    """The meaning of an erasure that names all that its copies contain."""
    return Meant()


@dataclass(frozen=True, slots=True)
class MustGo:
    """An item that an erasure named and that a restore may have stored again.

    Args:
        number: of this record.
        restore: number of the restore, or of the deletion that makes a learning current again.
        erasure: number of the deletion that erased the item.
        kind: the kind of its recovery copy.
        id: the id under which it is restored.
        texts: keyed tags of its text. Something else that is stored under the id by now stays.
        given_up: it was settled although its restore still runs: the restore was given up, and the item was not stored
            then.
        parts: keyed tags of the named interactions, each with the number of those that stay; empty for the whole item.
        said: of a whole request, keyed tags of its interactions, each with how many there are. What says some of it,
            and nothing else, under the id of the request, is what another erasure has left of it.
        stay: ids of learnings that say the same and stay.
        corrected: the id of the learning that was corrected. Should it say the erased text again, nobody deletes it:
            the text that took its place would be lost.
    """

    number: int
    restore: int
    erasure: int
    kind: str
    id: str
    user: str
    texts: frozenset[str]
    parts: Mapping[str, int] = field(default_factory=dict[str, int])
    stay: frozenset[str] = frozenset()
    corrected: str = ""
    said: Mapping[str, int] = field(default_factory=dict[str, int])
    given_up: bool = False


class CopyNote(NamedTuple):
    """What an erasure names of a copy, and the number of the deletion that has kept the copy."""

    deletion: int
    note: MustGo


@dataclass(frozen=True, slots=True)
class Erasure:
    """What an erasure removes.

    Args:
        names: of recovery copies; `u:alice` means all copies of that user. Every matching copy is erased, whoever made
            it, with the copied learnings from its interactions.
        means: returns what the erasure names of such a copy, or `None` if it names nothing of it. It is called with
            each copy, the oldest first.
        users: whose copies are erased; of everybody if empty. Another user may have had a request with the same id.
        learnings: as they would be copied. Another deletion may be making one of them current again.
        newest_copy: the number of the newest copy when what is stored was looked up. A copy that is newer was in no
            plan, so it is erased only if a name is that of the copied item itself. `None`: every copy was seen.
        seen: what it names of the copies that it has found so far. Another erasure may have removed them since.
    """

    names: Collection[str]
    means: Callable[[Copied], Meant | None] = whole
    users: Collection[str] = ()
    learnings: Sequence[Copied] = ()
    newest_copy: int | None = None
    seen: Sequence[CopyNote] = ()


class NotKept(NamedTuple):
    """The kind and id of copies that are not kept.

    Args:
        erased: another deletion erased them since this one began.
        must_go: an erasure named them, and a restore has stored them again.
        partly: they contain interactions that an erasure named and a restore has stored again.
    """

    erased: set[tuple[str, str]]
    must_go: set[tuple[str, str]]
    partly: set[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class RecoveryCopy:
    """What one deletion removed and a restore can put back, counted by kind."""

    until: float
    counts: Counter[str]


class CapReached(Exception):
    """The deletion is larger than the hourly cap allows; nothing was recorded.

    Args:
        room: number of items that may be deleted now.
        wait: seconds until the deletion fits.
    """

    def __init__(self, limit: int, room: int, wait: float) -> None:
        super().__init__(f"{room} of {limit} deletions are left")
        self.limit = limit
        self.room = room
        self.wait = wait


class Claimed(Exception):
    """Another job is writing one of these learnings."""


class LookAgain(Exception):
    """Holds or recovery copies have changed since an erasure looked at them: no end was recorded, no copy erased."""


class CodeUsed(Exception):
    """The plan code was used by deletion `number`; nothing was recorded."""

    def __init__(self, number: int) -> None:
        super().__init__(f"used for deletion {number}")
        self.number = number
