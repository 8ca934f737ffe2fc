"""Subscriptions to sessions and requests, and the notifications when this server changes them.

Two forms on the wire: clients of 2025 subscribe to one resource at a time and are told on the connection, clients
of 2026-07-28 open a stream that names all they want to hear of. Nobody hears of what lies outside its scope.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args
from urllib.parse import quote, unquote

import anyio
from anyio.abc import TaskGroup
from mcp.server.subscriptions import ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS

from reflexio_mcp.toolkit.caller_quota import Quota
from reflexio_mcp.traffic.scope import Scope

__all__ = [
    "KINDS",
    "MOST_SUBSCRIPTIONS",
    "Changed",
    "Kind",
    "ResourceName",
    "ScopedBus",
    "Subscriber",
    "Subscriptions",
    "name_of",
]

MOST_SUBSCRIPTIONS: Final = 10_000
"""Subscriptions of one process, over all its connections."""

MOST_URI_CHARS: Final = 200_000
"""Characters of an address: an id of the longest kind, escaped."""

TOO_MANY: Final = "There are too many subscriptions; end some first, then try again."

SEND_SECONDS: Final = 2.0
"""Time a client has to take a notification; one that does not read misses it, and reads afresh later anyway."""

Kind = Literal["sessions", "requests"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

logger = logging.getLogger("reflexio_mcp")


@dataclass(frozen=True, slots=True)
class ResourceName:
    """A session or a request, as a resource names it."""

    kind: Kind
    id: str


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Who is told.

    Args:
        caller: the stand-in for its key.
        user_id: the user it is confined to, or empty for everybody.
        account: whose share of all subscriptions it takes.
    """

    caller: str
    user_id: str
    account: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """One request that was stored or deleted."""

    session_id: str
    request_id: str
    user_id: str


def name_of(uri: str) -> ResourceName | None:
    """What an address names; `None` when it is none of a session or request, or too long for one."""
    if len(uri) > MOST_URI_CHARS:
        return None
    for kind in KINDS:
        start = f"reflexio://{kind}/"
        if uri.startswith(start) and (rest := unquote(uri[len(start) :])):
            return ResourceName(kind, rest)
    return None


Hear = Callable[[Changed], None]


class ScopedBus:
    """What the stream of a 2026-07-28 client is notified of: the part of `subscriptions` inside its scope."""

    def __init__(self, subscriptions: "Subscriptions", subscriber: Subscriber) -> None:
        self._subscriptions = subscriptions
        self._subscriber = subscriber

    async def publish(self, event: ServerEvent) -> None:
        """Nothing is published from a stream."""

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        def hear(changed: Changed) -> None:
            for kind, id_ in (("sessions", changed.session_id), ("requests", changed.request_id)):
                # A client may have written the same address with more or fewer escapes.
                for spelled in dict.fromkeys((quote(id_, safe=""), quote(id_), id_)):
                    listener(ResourceUpdated(f"reflexio://{kind}/{spelled}"))

        return self._subscriptions.add(self._subscriber, hear)


class Subscriptions:
    """Every subscription of this process.

    Args:
        share: how many of them one account may have.
    """

    def __init__(self, share: int = MOST_SUBSCRIPTIONS) -> None:
        self._quota = Quota(share, MOST_SUBSCRIPTIONS)
        self._hearing: dict[object, tuple[Subscriber, Hear]] = {}
        self._standing: dict[tuple[object, str], Callable[[], None]] = {}
        self._connections: set[object] = set()

    def __len__(self) -> int:
        return len(self._hearing)

    def holds(self, account: str) -> bool:
        """Whether an account has a subscription."""
        return self._quota.holds(account)

    def check_room(self, subscriber: Subscriber) -> None:
        """Raise what `add` would where there are too many already."""
        if not self._quota.has_room(subscriber.account):
            raise MCPError(INVALID_PARAMS, TOO_MANY)

    def add(self, subscriber: Subscriber, hear: Hear) -> Callable[[], None]:
        """Subscribe to changes inside a scope.

        Returns:
            Ends the subscription; may be called more than once.

        Raises:
            MCPError: too many subscriptions.
        """
        if not self._quota.take(subscriber.account):
            raise MCPError(INVALID_PARAMS, TOO_MANY)
        token = object()
        self._hearing[token] = (subscriber, hear)

        def end() -> None:
            if self._hearing.pop(token, None):
                self._quota.give_back(subscriber.account)

        return end

    def stand(
        self,
        connection: Any,
        subscriber: Subscriber,
        uri: str,
        session: Any,
        tasks: TaskGroup,
        kinds: frozenset[Kind] = frozenset(KINDS),
    ) -> None:
        """Subscribe a connection of 2025 to one resource until it unsubscribes or closes.

        Args:
            connection: the SDK's connection; what is pushed on its exit stack runs when it closes.
            session: sends the notifications.
            tasks: where sending runs, so that no tool waits for a slow reader.
            kinds: of resources that can be watched.

        Raises:
            MCPError: the address cannot be watched, or there are too many subscriptions.
        """
        wanted = name_of(uri)
        if wanted is None or wanted.kind not in kinds:
            offered = " and ".join(f"reflexio://{kind}/…" for kind in KINDS if kind in kinds)
            raise MCPError(INVALID_PARAMS, f"Only {offered or 'nothing here'} can be watched.")
        key = (connection, uri)
        if key in self._standing:
            return

        def hear(changed: Changed) -> None:
            if wanted.id == (changed.session_id if wanted.kind == "sessions" else changed.request_id):
                tasks.start_soon(_send, session, uri)

        self._standing[key] = self.add(subscriber, hear)
        if connection not in self._connections:
            # Once a connection: repeated subscribing must not pile up callbacks for its end.
            self._connections.add(connection)
            connection.exit_stack.callback(self._leave_all, connection)

    def leave(self, connection: Any, uri: str) -> None:
        """End a connection's subscription; nothing happens where there is none."""
        if end := self._standing.pop((connection, uri), None):
            end()

    def _leave_all(self, connection: Any) -> None:
        self._connections.discard(connection)
        for one, uri in [key for key in self._standing if key[0] is connection]:
            self.leave(one, uri)

    def tell(self, scope: Scope, changes: Iterable[Changed]) -> None:
        """Notify the subscribers that may know: those with the same key, and the same user or no user."""
        if not self._hearing:
            return
        for changed in changes:
            for subscriber, hear in list(self._hearing.values()):
                if subscriber.caller == scope.caller and subscriber.user_id in ("", changed.user_id):
                    hear(changed)


async def _send(session: Any, uri: str) -> None:
    with anyio.move_on_after(SEND_SECONDS):
        try:
            await session.send_resource_updated(uri)
        except Exception as error:  # noqa: BLE001 - a client that is gone must not fail whoever deleted
            logger.debug("a subscriber could not be told: %s", type(error).__name__)
