"""Repeating calls if that is safe."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, Protocol

import anyio

from reflexio_mcp.rest import errors
from reflexio_mcp.rest.responses import Answer, Call, HttpReply, note, read_answer

__all__ = ["MOST_TRIES", "Sender", "Transport"]

log = logging.getLogger("reflexio_mcp.rest")

MOST_TRIES: Final = 4
"""Tries of a call. Only time limits the waits for a rate limit."""

_FIRST_BACKOFF: Final = 0.25
_LONGEST_BACKOFF: Final = 8.0
_GATEWAY_FAULTS: Final = frozenset({502, 503, 504})


class Transport(Protocol):
    """One way to reach the service: HTTP, or a store in this process."""

    async def exchange(self, call: Call, seconds: float) -> HttpReply:
        """Send a call once and return its reply.

        Raises:
            ReflexioError: there is no reply.
        """
        ...

    async def aclose(self) -> None:
        """Close the transport."""
        ...


class Sender:
    """Sends calls and repeats them if that is safe.

    Args:
        api_key: never shown in an error, even if the service repeats it.
        jitter: a number from 0 to 1 that spreads the waits of several clients.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None,
        transport: Transport,
        sleep: Callable[[float], Awaitable[object]],
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._transport = transport
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def send(self, call: Call) -> Answer:
        """Send a call until it is answered, refused for good, or out of time.

        Raises:
            ReflexioError: its `effect` is "unknown" if any of the tries may have changed something.
        """
        deadline = self._clock() + call.timeout
        unknown = False
        attempt = faults = 0
        answered: errors.ServerFault | None = None
        while True:
            attempt += 1
            begun = self._clock()
            found = await self._try(call, deadline - begun)
            note(found.correlation_id)
            log.debug(
                "%s %s -> %s in %.0f ms (attempt %d, correlation id %s)",
                call.method,
                call.route,
                type(found).__name__,
                (self._clock() - begun) * 1000,
                attempt,
                found.correlation_id or "-",
            )
            if isinstance(found, Answer):
                return replace(found, repeated=unknown)
            faults += not isinstance(found, errors.RateLimited)
            # Servers close the connection after a 500. The 500 says more than the lost connection.
            answered = found if isinstance(found, errors.ServerFault) else answered
            # The server may have closed the connection before the first try, so that try is always repeated.
            tries = MOST_TRIES if call.repeat or isinstance(found, errors.ConnectionLost) else 1
            wait = self._backoff(attempt, found.wait)
            if not _may_pass(found, call) or faults >= tries or wait >= deadline - self._clock():
                if answered and isinstance(found, errors.ConnectionLost):
                    found = answered
                if unknown:
                    found.effect = "unknown"
                try:
                    raise found
                finally:
                    del found, answered  # the traceback would keep the caller's data
            unknown = unknown or found.effect == "unknown"
            await self._sleep(wait)

    def _backoff(self, attempt: int, asked: float | None) -> float:
        longest = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0 ** min(attempt, 10))
        drawn = longest * (0.5 + 0.5 * self._jitter())
        return drawn if asked is None else asked + drawn * 0.25

    async def _try(self, call: Call, seconds: float) -> Answer | errors.ReflexioError:
        try:
            with anyio.fail_after(seconds):
                reply = await self._transport.exchange(call, seconds)
            return read_answer(call, f"{self._base_url}{call.route}", reply)
        except TimeoutError:
            return errors.TimedOut(f"within {call.timeout:g} s")
        except errors.ReflexioError as error:
            if self._api_key and self._api_key in error.said:
                error.said = ""
            # The traceback would keep the caller's data.
            error.__traceback__ = error.__context__ = None
            return error
        except Exception:  # noqa: BLE001 - whatever broke, the call may have arrived
            return errors.ServerFault("the connection failed in a way that is not known")


def _may_pass(error: errors.ReflexioError, call: Call) -> bool:
    # A publish has a `request_id` and a deletion names ids, so neither is done twice.
    if isinstance(error, errors.ServerFault):
        return error.status in _GATEWAY_FAULTS or (error.status == 500 and call.kind == "read")
    return isinstance(error, errors.RateLimited | errors.ConnectionLost | errors.Unreachable)
