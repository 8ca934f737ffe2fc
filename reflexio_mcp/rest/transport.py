"""How a call is sent, repeated where that is safe, and its reply read.

The only module of `rest` that imports `httpx`. It is imported at the first call, to keep it out of the start-up time.
"""

import logging
import ssl
import sys
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import anyio
import httpx

from reflexio_mcp.rest import limits
from reflexio_mcp.rest.correlation import note
from reflexio_mcp.rest.errors import (
    BadAddress,
    ConnectionLost,
    NotTheApi,
    RateLimited,
    ReflexioError,
    ReplyTooLarge,
    ServerFault,
    TimedOut,
    Unreachable,
)
from reflexio_mcp.rest.responses import Answer, Call, read_answer, retry_after

log = logging.getLogger("reflexio_mcp.rest")

MOST_TRIES: Final = 4
"""Tries of a call whose failure may pass. Waits for a rate limit are bounded by time alone."""

_FIRST_BACKOFF: Final = 0.25
_LONGEST_BACKOFF: Final = 8.0
_CONNECT_SECONDS: Final = 10.0
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
class _Failure:
    """One failed try: the error, and whether and after how long another may follow."""

    error: ReflexioError
    repeatable: bool = False
    wait: float | None = None


class Sender:
    """Sends calls over one connection pool and repeats them where that is safe."""

    def __init__(
        self, base_url: str, *, api_key: str | None, user_agent: str, transport: Any, pace: Pace
    ) -> None:
        headers = {"accept": "application/json", "accept-encoding": "gzip", "user-agent": user_agent}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        self._base_url = base_url
        self._api_key = api_key
        try:
            self._http = httpx.AsyncClient(transport=transport, headers=headers, follow_redirects=False)
        except (httpx.InvalidURL, ValueError, OSError) as error:
            raise BadAddress(
                "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or SSL_CERT_FILE is not usable as it is set"
            ) from error
        self._pace = pace

    async def aclose(self) -> None:
        """Close the pool."""
        await self._http.aclose()

    async def send(self, call: Call) -> Answer:
        """Send a call until it is answered, refused for good, or out of time.

        Raises:
            ReflexioError: with `effect` "unknown" when one of its tries may have changed something.
        """
        deadline = self._pace.clock() + call.timeout
        earlier_unknown = False
        attempt = faults = 0
        limited_since: float | None = None
        answered: ServerFault | None = None
        while True:
            attempt += 1
            outcome = await self._try(call, deadline - self._pace.clock(), attempt)
            if isinstance(outcome, Answer):
                return replace(outcome, repeated=True) if earlier_unknown else outcome
            error = outcome.error
            now = self._pace.clock()
            if isinstance(error, RateLimited):
                limited_since = now if limited_since is None else limited_since
                if outcome.wait is None and error.retry_after is not None:
                    # The service names only the length of its window, which began before the first refusal.
                    error.retry_after = max(1.0, error.retry_after - (now - limited_since))
            else:
                faults += 1
            wait = self._backoff(attempt, outcome.wait)
            if isinstance(error, ServerFault):
                answered = error
            # A lost connection says nothing: servers close theirs behind a 500, and the next call meets that.
            tries = MOST_TRIES if call.repeat or isinstance(error, ConnectionLost) else 1
            if not outcome.repeatable or faults >= tries or wait >= deadline - now:
                error = answered if answered and isinstance(error, ConnectionLost) else error
                if earlier_unknown:
                    error.effect = "unknown"
                raise error
            earlier_unknown = earlier_unknown or error.effect == "unknown"
            await self._pace.sleep(wait)

    def _backoff(self, attempt: int, told: float | None) -> float:
        longest = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0**attempt)
        drawn = longest * (0.5 + 0.5 * self._pace.jitter())
        return drawn if told is None else told + drawn * 0.25

    async def _try(self, call: Call, left: float, attempt: int) -> Answer | _Failure:
        started = self._pace.clock()
        url = f"{self._base_url}{call.route}"
        outcome: Answer | _Failure | None = None
        status: int | str = "no answer"
        with anyio.move_on_after(left):
            try:
                async with self._http.stream(
                    call.method,
                    url,
                    content=call.content,
                    params=call.params or None,
                    headers=_call_headers(call),
                    timeout=httpx.Timeout(left, connect=min(_CONNECT_SECONDS, left * 0.9)),
                ) as response:
                    status = response.status_code
                    outcome = _judge(call, url, response, await _content(response))
            except ReflexioError as error:
                outcome = _Failure(error, repeatable=isinstance(error, ConnectionLost))
            except httpx.HTTPError as error:
                outcome = self._broken(error)
                status = type(error).__name__
            except httpx.InvalidURL:
                outcome = _Failure(BadAddress("REFLEXIO_URL is not a URL"))
            except Exception as error:  # noqa: BLE001 - a backend in this process raises where a server answers 500
                outcome = _Failure(ServerFault("the backend in this process failed"))
                status = type(error).__name__
        if outcome is None:
            outcome = _Failure(TimedOut(f"within {call.timeout:g} s"))
        elif isinstance(outcome, _Failure) and self._api_key and self._api_key in outcome.error.detail:
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

    def _broken(self, error: httpx.HTTPError) -> _Failure:
        if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
            return _Failure(BadAddress("the call cannot be written as HTTP"))
        if isinstance(
            error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError
        ):
            reason, passing = _why_unreachable(error)
            return _Failure(Unreachable(f"{self._base_url}: {reason}"), repeatable=passing)
        if isinstance(error, httpx.TimeoutException):
            return _Failure(TimedOut())
        return _Failure(ConnectionLost(), repeatable=True)


async def _content(response: httpx.Response) -> bytes:
    """Read and decode the body of a reply, up to a limit.

    `httpx` would decode each piece it receives as a whole, and a few kilobytes can stand for gigabytes.

    Raises:
        ReplyTooLarge: there is more than this client takes.
        ConnectionLost: the body is cut short or cannot be decoded.
        NotTheApi: it is encoded in a way that was not asked for.
    """
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding not in {"identity", "gzip"}:
        raise NotTheApi("its answer is encoded in a way that was not asked for", status=response.status_code)
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoding == "gzip" else None
    parts: list[bytes] = []
    left = limits.MAX_REPLY_BYTES
    # As it is received; `aiter_raw` refuses a stream that is in memory already.
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for received in response.stream:
        part = received
        if unpacker is not None:
            try:
                part = unpacker.decompress(part, left + 1)
            except zlib.error:
                raise ConnectionLost from None
        left -= len(part)
        if left < 0:
            raise ReplyTooLarge(
                f"more than {limits.MAX_REPLY_BYTES // 2**20} MiB", status=response.status_code
            )
        parts.append(part)
    if unpacker is not None and parts and not unpacker.eof:
        raise ConnectionLost
    content = b"".join(parts)
    if content.count(b",") + content.count(b"[") + content.count(b"{") > limits.MAX_REPLY_VALUES:
        raise ReplyTooLarge("too many values", status=response.status_code)
    return content


def _why_unreachable(error: httpx.HTTPError) -> tuple[str, bool]:
    """Say why no connection was made, and whether that may pass by itself."""
    text = str(error).lower()
    if isinstance(error, httpx.ProxyError):
        return "the proxy refused", False
    if isinstance(error, httpx.PoolTimeout):
        return "all connections are in use", True
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection in time", True
    if "certificate" in text or "ssl" in text:
        return "its TLS certificate could not be verified" if "certificate" in text else "no TLS there", False
    if "name or service" in text or "getaddrinfo" in text or "name resolution" in text or "nodename" in text:
        return "the host name is not known", True
    return (
        "connection refused" if "refused" in text or "all connection attempts" in text else "no connection",
        True,
    )


def _judge(call: Call, url: str, response: httpx.Response, content: bytes) -> Answer | _Failure:
    result = read_answer(call, url, response.status_code, response.headers, content)
    if isinstance(result, Answer):
        return result
    if isinstance(result, RateLimited):
        told = retry_after(response.headers)
        return _Failure(result, repeatable=True, wait=told)
    if isinstance(result, ServerFault):
        passing = result.status in _GATEWAY_FAULTS or (result.status == 500 and call.kind == "read")
        return _Failure(result, repeatable=passing, wait=retry_after(response.headers))
    return _Failure(result)


def _call_headers(call: Call) -> dict[str, str]:
    headers = {"content-type": "application/json"} if call.content is not None else {}
    # Nothing to do unless somebody has imported tracing and opened a span.
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is not None and trace.get_current_span().get_span_context().is_valid:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(headers)
    return headers


def trust() -> ssl.SSLContext:
    """The TLS context that calls are made with. It heeds `SSL_CERT_FILE` and `SSL_CERT_DIR`."""
    return httpx.create_ssl_context()
