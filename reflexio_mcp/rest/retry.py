"""How a call is repeated where that is safe, whichever way it reaches the service."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

import anyio

from reflexio_mcp.rest import api_limits, errors
from reflexio_mcp.rest.correlation import note
from reflexio_mcp.rest.responses import Answer, Call, HttpReply, read_answer, retry_after

__all__ = ["MOST_TRIES", "Failure", "Pace", "Sender", "Transport", "reply_too_large"]

log = logging.getLogger("reflexio_mcp.rest")

MOST_TRIES: Final = 4
"""Tries of a call whose failure may pass. Waits for a rate limit are bounded by time alone."""

_FIRST_BACKOFF: Final = 0.25
_LONGEST_BACKOFF: Final = 8.0
_GATEWAY_FAULTS: Final = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True)
class Pace:
    """What repeating depends on, so that tests need not wait.

    Args:
        sleep: waits that many seconds.
        clock: monotonic seconds.
        jitter: a number from 0 to 1, exclusive of 1.
    """

    sleep: Callable[[float], Awaitable[object]]
    clock: Callable[[], float]
    jitter: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed try: the error, and whether and after how long another may follow."""

    error: errors.ReflexioError
    repeatable: bool = False
    wait: float | None = None


class Transport(Protocol):
    """One way to reach the service: HTTP, or a store in this process."""

    async def exchange(self, call: Call, seconds: float) -> HttpReply | Failure:
        """Send a call once and return its complete reply. Who calls stops waiting after so many seconds."""
        ...

    async def aclose(self) -> None:
        """Release what the calls need."""
        ...


class Sender:
    """Sends calls and repeats them where that is safe.

    Args:
        api_key: never shown in an error, even where the service repeats it.
    """

    def __init__(self, base_url: str, *, api_key: str | None, transport: Transport, pace: Pace) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._transport = transport
        self._pace = pace

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()

    async def send(self, call: Call) -> Answer:
        """Send a call until it is answered, refused for good, or out of time.

        Raises:
            ReflexioError: with `effect` "unknown" when one of its tries may have changed something.
        """
        deadline = self._pace.clock() + call.timeout
        earlier_unknown = False
        attempt = faults = 0
        limited_since: float | None = None
        answered: errors.ServerFault | None = None
        while True:
            attempt += 1
            outcome = await self._try(call, deadline - self._pace.clock(), attempt)
            if isinstance(outcome, Answer):
                return replace(outcome, repeated=True) if earlier_unknown else outcome
            error = outcome.error
            now = self._pace.clock()
            if isinstance(error, errors.RateLimited):
                limited_since = now if limited_since is None else limited_since
                if outcome.wait is None and error.retry_after is not None:
                    # The service names only the length of its window, which began before the first refusal.
                    error.retry_after = max(1.0, error.retry_after - (now - limited_since))
            else:
                faults += 1
            wait = self._backoff(attempt, outcome.wait)
            if isinstance(error, errors.ServerFault):
                answered = error
            # A lost connection is repeated in any case: servers close theirs after a 500, which the next call meets.
            tries = MOST_TRIES if call.repeat or isinstance(error, errors.ConnectionLost) else 1
            if not outcome.repeatable or faults >= tries or wait >= deadline - now:
                error = answered if answered and isinstance(error, errors.ConnectionLost) else error
                if earlier_unknown:
                    error.effect = "unknown"
                try:
                    raise error
                finally:
                    # Its traceback holds this frame: an error held by the frame would keep all callers' data too.
                    del error, outcome, answered
            earlier_unknown = earlier_unknown or error.effect == "unknown"
            await self._pace.sleep(wait)

    def _backoff(self, attempt: int, told: float | None) -> float:
        longest = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0 ** min(attempt, 10))
        drawn = longest * (0.5 + 0.5 * self._pace.jitter())
        return drawn if told is None else told + drawn * 0.25

    async def _try(self, call: Call, left: float, attempt: int) -> Answer | Failure:
        started = self._pace.clock()
        outcome: Answer | Failure | None = None
        status: int | str = "no answer"
        with anyio.move_on_after(left):
            try:
                reply = await self._transport.exchange(call, left)
            except Exception as error:  # noqa: BLE001 - a backend in this process raises where a server answers 500
                outcome = Failure(errors.ServerFault("the backend in this process failed"))
                status = type(error).__name__
            else:
                if isinstance(reply, Failure):
                    outcome, status = reply, type(reply.error).__name__
                else:
                    outcome, status = _judge(call, f"{self._base_url}{call.route}", reply), reply.status
        if outcome is None:
            outcome = Failure(errors.TimedOut(f"within {call.timeout:g} s"))
        elif isinstance(outcome, Failure) and self._api_key:
            if self._api_key in outcome.error.said:
                outcome.error.said = ""
            if self._api_key in outcome.error.detail:
                outcome.error.detail = ""
                outcome.error.args = ("",)
        found = outcome if isinstance(outcome, Answer) else outcome.error
        note(found.correlation_id)
        log.debug(
            "%s %s -> %s in %.0f ms (attempt %d, correlation id %s)",
            call.method,
            call.route,
            status,
            (self._pace.clock() - started) * 1000,
            attempt,
            found.correlation_id or "-",
        )
        return outcome


def reply_too_large(status: int) -> errors.ReplyTooLarge:
    """What to raise for a body of more bytes than this client takes."""
    return errors.ReplyTooLarge(f"more than {api_limits.MAX_REPLY_BYTES // 2**20} MiB", status=status)


def _judge(call: Call, url: str, reply: HttpReply) -> Answer | Failure:
    content = reply.content
    if len(content) > api_limits.MAX_REPLY_BYTES:
        return Failure(reply_too_large(reply.status))
    # A value takes a byte at least, so only a long reply has to be counted.
    if len(content) > api_limits.MAX_REPLY_VALUES < sum(map(content.count, (b",", b"[", b"{"))):
        return Failure(errors.ReplyTooLarge("too many values", status=reply.status))
    result = read_answer(call, url, reply)
    if isinstance(result, Answer):
        return result
    wait = retry_after(reply.headers)
    if isinstance(result, errors.RateLimited):
        return Failure(result, repeatable=True, wait=wait)
    if isinstance(result, errors.ServerFault):
        passing = result.status in _GATEWAY_FAULTS or (result.status == 500 and call.kind == "read")
        return Failure(result, repeatable=passing, wait=wait)
    return Failure(result)
