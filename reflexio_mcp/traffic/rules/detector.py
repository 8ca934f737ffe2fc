"""What every rule's detector has in common."""

import contextlib
import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import anyio.from_thread

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.content import running_digests, texts_of, turn_digests
from reflexio_mcp.traffic.rules.catalog import RULES
from reflexio_mcp.traffic.rules.found import Found
from reflexio_mcp.traffic.rules.roles import speakers

__all__ = ["SCANNED_CHARS", "Detector", "Need", "SessionSeen", "stop_if_cancelled"]


SCANNED_CHARS: Final = 1_000_000
"""Of one text. The service takes no longer one; should a text be longer, an audit says that its rest was not read."""


@dataclass(frozen=True)
class SessionSeen:
    """One session as far as the audit's filter matches; requests newest first.

    Args:
        is_part: the filter may leave out single requests of it, by their source, version or words.
    """

    session_id: str
    requests: list[RequestWithInteractions]
    is_part: bool = False

    @functools.cached_property
    def turns(self) -> list[list[bytes]]:
        """`turn_digests` of each request; several detectors need them."""
        return [turn_digests(item, speakers) for item in self.requests]

    @functools.cached_property
    def lengths(self) -> list[list[int]]:
        """Characters of content of each turn of each request."""
        return [[sum(map(len, texts_of(turn))) for turn in item.interactions] for item in self.requests]

    @functools.cached_property
    def digests(self) -> list[list[bytes]]:
        """`running_digests` of each request."""
        return [running_digests(turns) for turns in self.turns]


Need = Literal["whole sessions", "all traffic", "personal data"]
"""What an audit may not be able to show a detector, or is told not to look for."""


class Detector:
    """One rule or several at work: plain functions that see each request, then each session.

    An audit calls them in a worker thread, a session at a time.
    """

    needs: ClassVar[Need | None] = None

    carries: ClassVar[Mapping[str, Callable[[RequestWithInteractions], object]]] = {}
    """For a rule that only much of it makes a finding: whether one request carries it. A filter selects all that do."""

    def __init__(self) -> None:
        name = f"{type(self).__module__.rpartition('.')[2]}.{type(self).__name__}"
        self.founds = [Found(one) for one in RULES if one.detector == name]
        """What it has found, for each rule whose row names it, in the order of the catalog."""
        self.now = time.time()
        """The present, epoch seconds."""
        self.until = math.inf
        """When to give up on a session that takes long, on the clock of `time.monotonic`."""
        self.originals: dict[str, Mapping[str, str]] = {}
        """Of the last session, for each rule about copies: each copy's id with that of the request that stays, or
        of the session where its words stand in several."""
        self.left_out = ""
        """What of the traffic it could not look at; set in the course of the work."""

    def request(self, item: RequestWithInteractions) -> None:
        """Look at one request."""

    def session(self, seen: SessionSeen) -> None:
        """Look at one session, after each of its requests."""

    def finish(self) -> None:
        """Draw the conclusions that need everything to have been seen."""


LONG_CHARS: Final = 1_000
"""A text that takes long enough to look whether anybody still waits for the answer."""


def stop_if_cancelled(chars: int = LONG_CHARS) -> None:
    """Give up when the call that this worker thread serves was cancelled; elsewhere do nothing.

    Args:
        chars: of the text that is looked at next; for a short one nothing is asked.

    Raises:
        anyio.get_cancelled_exc_class(): the call was cancelled.
    """
    if chars < LONG_CHARS:
        return
    with contextlib.suppress(RuntimeError):  # this is no worker thread of anyio's
        anyio.from_thread.check_cancelled()
