"""The operator's policy file: what nobody may delete, and what expires."""

import logging
import re
import time
import unicodedata
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import anyio
import anyio.to_thread
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from reflexio_mcp.characters import UNSEEN
from reflexio_mcp.matching.words import normalized_pieces
from reflexio_mcp.results.base import label, shown_name
from reflexio_mcp.traffic.errors import InvalidInput

if TYPE_CHECKING:
    from reflexio_mcp.rest.models import StoredRequest

__all__ = [
    "Hold",
    "HoldsInForce",
    "Policy",
    "PolicyFile",
    "current_policy",
    "policy_at",
    "time_for_expiry",
    "use_policy",
]

logger = logging.getLogger("reflexio_mcp")

READ_SECONDS: Final = 5.0
"""Time between two looks at the file of a server that nobody calls."""

SETTLED_SECONDS: Final = 1.0
"""If a change of the file was first seen less than this ago, the file may be half written, unless its time is old."""

OLD_SECONDS: Final = 60.0
"""A file whose time is so long ago is not being written, even if its file server's clock is behind this machine's."""

LONGEST_WAIT: Final = 10.0
"""Seconds that a start waits for the file to settle."""

WORDS_OF_TOML: Final[Mapping[str, str]] = {
    "frozen_set_type": 'it has to be a list, such as ["a", "b"]',
    "tuple_type": "each begins with a line of its own, such as [[hold]]",
}
"""What is wrong, by pydantic's kind of problem, where pydantic's words are Python's."""

LAST_SECOND: Final = time_of_day(23, 59, 59)

_UNSEEN_CHARACTERS: Final = re.compile(f"[{UNSEEN}]")
"""Besides `_UNSEEN_CATEGORIES`."""

_UNSEEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Zl", "Zp"})
"""Control characters, format characters, and the separators of lines and paragraphs."""

_AGE: Final = re.compile(r"([1-9]\d{0,5})(s|min|h|d)")
_SECONDS_OF_UNIT: Final = {"s": 1, "min": 60, "h": 3600, "d": 86_400}

AGE_ACCEPTED: Final = (
    "takes a number and s, min, h or d, such as 30min or 7d; m is refused, as it can mean months"
)
AGE_ALONE: Final = (
    "an expiry names a user_id, session_id, source, agent_version or evaluation_only: an age alone selects everything "
    "of everybody"
)
EMPTY: Final = "the file says nothing; for a policy without holds and expiry, write hold = []"


def _comparable(name: str) -> str:
    """Return the one spelling in which names are compared.

    “é” can be stored as one character or as two, and nobody sees a character such as a zero-width space, in the policy
    or in a stored name. A hold whose names only look like the stored ones would keep nothing.
    """
    visible = "".join(letter for letter in name if unicodedata.category(letter) not in _UNSEEN_CATEGORIES)
    return "".join(normalized_pieces(_UNSEEN_CHARACTERS.sub("", visible), "NFC")).strip()


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
"""An empty name would cover everything."""


def _held_name(name: str) -> str:
    comparable = _comparable(name)
    if not comparable:
        raise ValueError("a name has no character that can be seen")
    return comparable


HeldName = Annotated[Name, AfterValidator(_held_name)]

Line = Annotated[str, Field(pattern=r"^[^\n]*\S[^\n]*$", max_length=200)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Hold(_Entry):
    """Users, sessions and sources whose data nobody may delete.

    Args:
        until: the last day of the hold, in UTC; `None` for no end.
        contact: whom to ask about the hold.
    """

    users: frozenset[HeldName] = frozenset()
    sessions: frozenset[HeldName] = frozenset()
    sources: frozenset[HeldName] = frozenset()
    reason: Line
    until: Annotated[date, Strict()] | None = None
    contact: Line | None = None

    @model_validator(mode="after")
    def _names_something(self) -> "Hold":
        if not (self.users or self.sessions or self.sources):
            raise ValueError("a hold names users, sessions or sources")
        return self

    def is_over(self, today: date) -> bool:
        return self.until is not None and self.until < today

    def may_cover(self, user_id: str) -> bool:
        """Whether this hold may cover data of which only the user is known."""
        return bool(self.sessions or self.sources) or self.covers(user_id, "", "")

    def covers(self, user_id: str, session_id: str, source: str) -> bool:
        return (
            _comparable(user_id) in self.users
            or _comparable(session_id) in self.sessions
            or _comparable(source) in self.sources
        )

    @property
    def ends_at(self) -> datetime | None:
        """The last second of the last day."""
        return datetime.combine(self.until, LAST_SECOND, UTC) if self.until else None

    def describe(self) -> str:
        return f"{self.reason}, through {self.until} UTC" if self.until else self.reason


class Expiry(_Entry):
    """Requests that expire, and at what age. The fields have the names of the filter."""

    after: str
    user_id: Name = ""
    session_id: Name = ""
    source: Name = ""
    agent_version: Name = ""
    evaluation_only: Annotated[bool, Strict()] | None = None

    @field_validator("after")
    @classmethod
    def _is_an_age(cls, after: str) -> str:
        if not _AGE.fullmatch(after):
            raise ValueError(AGE_ACCEPTED)
        return after

    @model_validator(mode="after")
    def _names_something(self) -> "Expiry":
        if not self.named:
            raise ValueError(AGE_ALONE)
        return self

    @property
    def named(self) -> dict[str, object]:
        return self.model_dump(exclude={"after"}, exclude_defaults=True)

    @property
    def seconds(self) -> int:
        unit = self.after.lstrip("0123456789")
        return int(self.after.removesuffix(unit)) * _SECONDS_OF_UNIT[unit]

    def covers(self, request: "StoredRequest", now: float) -> bool:
        """Whether a request has these names and is old enough."""
        return request.created_at <= now - self.seconds and all(
            getattr(request, name) == value for name, value in self.named.items()
        )

    def describe(self) -> str:
        named = ", ".join(f"{name} {value}" for name, value in self.named.items())
        return f"{named} after {self.after}"


class Policy(_Entry):
    """What the file says.

    Args:
        cap: maximum number of requests that `delete --finding expired` deletes in an hour.
        contact: whom to ask about a hold without a `contact` of its own.
    """

    hold: tuple[Hold, ...] = ()
    expire: tuple[Expiry, ...] = ()
    cap: Annotated[int, Strict(), Field(ge=1)] = 10_000
    contact: Line | None = None

    @property
    def says_nothing(self) -> bool:
        return not self.model_fields_set

    @property
    def holds_requests(self) -> bool:
        """Whether a hold keeps some requests of a user and not others."""
        return any(hold.sessions or hold.sources for hold in self.hold)

    def held_by(self, user_id: str, session_id: str = "", source: str = "") -> Hold | None:
        """Return the hold on data with these names; `None` if the data may be deleted."""
        return next((hold for hold in self.hold if hold.covers(user_id, session_id, source)), None)

    def may_hold(self, user_id: str) -> Hold | None:
        """Return a hold that may cover data of which only the user is known.

        With an empty `user_id`, nothing is known of the data, and any hold may cover them.
        """
        return next((hold for hold in self.hold if not user_id or hold.may_cover(user_id)), None)

    def hold_on(self, request: "StoredRequest") -> Hold | None:
        """Return the hold on a request; `None` if it may be deleted."""
        return self.held_by(request.user_id, request.session_id, request.source)

    def in_force(self, today: date) -> "Policy":
        """Return the policy without the holds that are over."""
        left = tuple(hold for hold in self.hold if not hold.is_over(today))
        return self if left == self.hold else self.model_copy(update={"hold": left})

    def expired(self, request: "StoredRequest", now: float) -> Expiry | None:
        """Return the rule by which a request has expired; `None` if it has not."""
        return next((expiry for expiry in self.expire if expiry.covers(request, now)), None)


class _Stamp(NamedTuple):
    """A value that changes with the file."""

    changed_ns: int
    status_changed_ns: int
    """Nobody can set this time. A program that copies a file can give it the time and size of the old one."""
    size: int
    inode: int


UNSETTLED: Final = _Stamp(0, 0, 0, 0)
"""No file has this stamp: the next look reads it again."""


class HoldsInForce(NamedTuple):
    """The holds at a moment. Two are equal only if the holds have not changed between them, not even back and forth.

    Args:
        changes: how many times the file's holds have changed so far.
    """

    holds: tuple[Hold, ...]
    changes: int


class PolicyFile:
    """A policy that is read again when its file changes.

    If the new file is wrong or says nothing, the old policy stays in force. A file that was changed a moment ago may be
    half written: until it settles, the old policy stays in force, and each hold that was read keeps what it names. Only
    a whole file that has settled lifts a hold.

    Attributes:
        certain_day: the latest day that has come for certain, by more than this machine's clock; `None` if nobody has
            asked. A deletion asks the state (`holds_on`), because a clock that is ahead would end a hold.
        clock_ahead: returns by how many seconds this machine's clock is ahead of the service's, which dates requests.

    Raises:
        InvalidInput: the file cannot be used at the start.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path) if path else None
        self.problem = ""
        self.certain_day: date | None = None
        self.clock_ahead: Callable[[], float] = lambda: 0.0
        self._last_seen: _Stamp | None = self._look()
        self._last_seen_since = time.monotonic()
        self._hold_changes = 0
        self._read_stamp: _Stamp | None
        self._policy: Policy
        self._read_stamp, self._policy = self._read_settled()

    def now(self) -> Policy:
        """Return the policy that is in force, without holds that are over."""
        today = _today()
        if self.certain_day:
            today = min(today, self.certain_day)
        return self._read_if_changed().in_force(today)

    def holds_now(self) -> HoldsInForce:
        """Return the holds that are in force, to be compared with those of an earlier or later moment."""
        holds = self.now().hold
        return HoldsInForce(holds, self._hold_changes)

    async def keep_reading(self) -> None:
        """Read the file whenever it has changed, also while nobody calls, until cancelled.

        Otherwise two servers of one file would differ if it changed twice, and one of them was called in between.
        """
        while self.path:
            with suppress(InvalidInput):
                await anyio.to_thread.run_sync(self.now)
            await anyio.sleep(READ_SECONDS)

    @property
    def any_end_uncertain(self) -> bool:
        """Whether a hold is over by this machine's clock alone."""
        today = _today()
        certain_day = self.certain_day or date.min  # no hold is over for certain if nobody has asked
        return any(
            hold.is_over(today) and not hold.is_over(certain_day) for hold in self._read_if_changed().hold
        )

    def _read_if_changed(self) -> Policy:
        stamp = self._look()
        if stamp == self._read_stamp:
            return self._policy
        found = self._read_again()
        settled = self._is_settled(stamp) and self._look() == stamp
        if found is None:
            if settled:  # it stays wrong, so it is not read again
                self._read_stamp = stamp
            return self._policy
        if not settled:
            holds = dict.fromkeys((*self._policy.hold, *found.hold))
            self._take(self._policy.model_copy(update={"hold": tuple(holds)}))
            self._read_stamp = UNSETTLED
            return self._policy
        if self._policy.hold and not found.hold:
            logger.warning(
                "REFLEXIO_MCP_POLICY: the file has no holds any more; %d were lifted.", len(self._policy.hold)
            )
        self._take(found)
        self._read_stamp, self.problem = stamp, ""
        return found

    def _take(self, policy: Policy) -> None:
        if policy.hold != self._policy.hold:
            self._hold_changes += 1
        self._policy = policy

    def _read_settled(self) -> tuple[_Stamp | None, Policy]:
        until = time.monotonic() + LONGEST_WAIT
        while True:
            stamp = self._look()
            if self._is_settled(stamp):
                found = self._read()
                if self._look() == stamp:
                    return stamp, found
            if time.monotonic() > until:
                raise InvalidInput("REFLEXIO_MCP_POLICY", "cannot be used: the file changes all the time.")
            time.sleep(SETTLED_SECONDS / 20)

    def _look(self) -> _Stamp | None:
        try:
            found = self.path.stat() if self.path else None
        except OSError:
            return None
        if found is None:
            return None
        return _Stamp(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)

    def _is_settled(self, stamp: _Stamp | None) -> bool:
        """Whether nobody is writing the file: it was seen unchanged for a while, or its time is long ago.

        A time of a moment ago says nothing: the clock of a file server can be behind this machine's.
        """
        if stamp != self._last_seen:
            self._last_seen, self._last_seen_since = stamp, time.monotonic()
        return (
            stamp is None
            or time.time() - stamp.changed_ns / 1e9 >= OLD_SECONDS
            or time.monotonic() - self._last_seen_since >= SETTLED_SECONDS
        )

    def _read_again(self) -> Policy | None:
        try:
            return self._read()
        except InvalidInput as error:
            problem = f"{error} The previous policy stays in force."
            if problem != self.problem:
                logger.warning("%s", problem)
            self.problem = problem
        return None

    def _read(self) -> Policy:
        if self.path is None:
            return Policy()
        import tomllib  # few operators have a policy

        try:
            if self.path.exists() and not self.path.is_file():  # reading a pipe could take for ever
                raise OSError(0, "it is no file")
            policy = Policy.model_validate(tomllib.loads(self.path.read_text(encoding="utf-8-sig")))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            place = ".".join(label(str(part)) for part in first["loc"])
            said = WORDS_OF_TOML.get(first["type"], first["msg"].removeprefix("Value error, "))
            why = f"{place}: {said}"
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else shown_name(str(error))
            why = said or "it cannot be read"
        except RecursionError:
            why = "it is nested too deeply"
        else:
            if not policy.says_nothing:
                return policy
            why = EMPTY
        raise InvalidInput("REFLEXIO_MCP_POLICY", f"cannot be used: {why}.")


policy_at = cache(PolicyFile)
"""Returns the policy file at a path; an empty path means an empty policy."""

_used: ContextVar[PolicyFile | None] = ContextVar("reflexio_mcp_policy", default=None)


@contextmanager
def use_policy(policy: PolicyFile) -> Generator[None]:
    """Make this policy the `current_policy` of this context, and of tasks and threads started there.

    It decides what has expired. What is on hold is decided by the policy of the scope.
    """
    token = _used.set(policy)
    try:
        yield
    finally:
        _used.reset(token)


def _today() -> date:
    return datetime.now(UTC).date()


def time_for_expiry() -> float:
    """Return the time by which requests expire: epoch seconds of a clock that is not ahead of the service's."""
    used = _used.get()
    return time.time() - (used.clock_ahead() if used else 0.0)


def current_policy() -> Policy:
    return used.now() if (used := _used.get()) else Policy()
