"""The operator's policy file: what nobody may delete, and what expires."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints, ValidationError, model_validator

from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.times import parse_time

if TYPE_CHECKING:
    from reflexio_mcp.rest.models import StoredRequest

__all__ = ["Hold", "Policy", "current_policy", "policy_at", "use_policy"]


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
"""An empty name would cover everything."""

logger = logging.getLogger("reflexio_mcp")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Hold(_Entry):
    """Users, sessions and sources whose data nobody may delete.

    Args:
        until: the last day of the hold; `None` for no end.
    """

    users: frozenset[Name] = frozenset()
    sessions: frozenset[Name] = frozenset()
    sources: frozenset[Name] = frozenset()
    reason: Annotated[str, Field(pattern=r"^[^\n]*\S[^\n]*$", max_length=200)]
    until: Annotated[date, Strict()] | None = None

    @model_validator(mode="after")
    def _names_something(self) -> "Hold":
        if not (self.users or self.sessions or self.sources):
            raise ValueError("a hold names users, sessions or sources")
        return self

    @property
    def is_over(self) -> bool:
        return self.until is not None and self.until < datetime.now(UTC).date()

    def describe(self) -> str:
        return f"{self.reason}, until {self.until}" if self.until else self.reason


class Expiry(_Entry):
    """Requests that expire, and at what age. The fields have the names of the filter."""

    after: Annotated[str, Field(pattern=r"^[1-9]\d{0,5}[smhd]$")]
    user_id: Name = ""
    session_id: Name = ""
    source: Name = ""
    agent_version: Name = ""
    evaluation_only: bool | None = None

    @property
    def named(self) -> dict[str, object]:
        return self.model_dump(exclude={"after"}, exclude_defaults=True)

    def covers(self, request: "StoredRequest", now: float) -> bool:
        """Whether a request has these names and is old enough."""
        return request.created_at <= parse_time("after", self.after, now=now) and all(
            getattr(request, name) == value for name, value in self.named.items()
        )

    def describe(self) -> str:
        named = ", ".join(f"{name} {value}" for name, value in self.named.items())
        return f"{named or 'everything'} after {self.after}"


class Policy(_Entry):
    """What the file says.

    Args:
        cap: maximum number of requests that `delete --finding expired` deletes in an hour.
    """

    hold: tuple[Hold, ...] = ()
    expire: tuple[Expiry, ...] = ()
    cap: Annotated[int, Field(ge=1)] = 10_000

    def held_by(self, user_id: str, session_id: str = "", source: str = "") -> Hold | None:
        """Return the hold on data with these names; `None` if the data may be deleted."""
        return next(
            (
                one
                for one in self.hold
                if (user_id in one.users or session_id in one.sessions or source in one.sources)
                and not one.is_over
            ),
            None,
        )

    def expired(self, request: "StoredRequest", now: float) -> Expiry | None:
        """Return the rule by which a request has expired; `None` if it has not."""
        return next((one for one in self.expire if one.covers(request, now)), None)


class PolicyFile:
    """A policy that is read again when its file changes. If the new file is wrong, the old policy stays in force.

    Raises:
        InvalidInput: the file cannot be used at the start.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None
        self._stamp = self._look()
        self._policy = self._read()
        self.problem = ""

    def now(self) -> Policy:
        if (stamp := self._look()) != self._stamp:
            self._stamp = stamp
            try:
                self._policy, self.problem = self._read(), ""
            except InvalidInput as error:
                self.problem = f"{error} The previous policy stays in force."
                logger.warning("%s", self.problem)
        return self._policy

    def _look(self) -> tuple[int, int, int] | None:
        """Return a value that changes with the file."""
        try:
            found = self._path.stat() if self._path else None
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size, found.st_ino) if found else None

    def _read(self) -> Policy:
        if self._path is None:
            return Policy()
        import tomllib  # few operators have a policy

        try:
            return Policy.model_validate(tomllib.loads(self._path.read_text(encoding="utf-8")))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else str(error)) or "it cannot be read"
        raise InvalidInput("REFLEXIO_MCP_POLICY", f"cannot be used: {why}.")


policy_at = cache(PolicyFile)
"""Returns the policy file at a path; an empty path means an empty policy."""

_used: ContextVar[PolicyFile | None] = ContextVar("reflexio_mcp_policy", default=None)


@contextmanager
def use_policy(policy: PolicyFile) -> Generator[None]:
    """Use this policy for expiry in this context, and in tasks and threads started there."""
    token = _used.set(policy)
    try:
        yield
    finally:
        _used.reset(token)


def current_policy() -> Policy:
    return used.now() if (used := _used.get()) else Policy()
