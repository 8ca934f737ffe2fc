"""Calls over HTTP. Stdio and the commands import this module, and so `httpx`, at the first call."""

import functools
import os
import socket
import ssl
import sys
from collections.abc import Iterator
from typing import Any, Final, cast

import httpx

from reflexio_mcp.rest import api_limits, errors
from reflexio_mcp.rest.exchange import Call, HttpReply

__all__ = ["new_client"]

_CONNECT_SECONDS: Final = 10.0
_MOST_IDLE: Final = 20
_REASONS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (ssl.SSLCertVerificationError, "its TLS certificate could not be verified"),
    (ssl.SSLError, "the TLS handshake failed"),
    (socket.gaierror, "the host name is not known"),
    (ConnectionRefusedError, "connection refused"),
)
"""What the causes of a failed connection mean. The first that fits is told, so a class stands before its bases."""


class HttpTransport:
    """Has one httpx client for each running call: in each call, httpx looks at all connections of its client.

    Args:
        inner: replaces the network.

    Raises:
        BadAddress: the environment's proxy or certificate settings cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None,
        user_agent: str,
        inner: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"accept": "application/json", "accept-encoding": "gzip", "user-agent": user_agent}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        self._base_url = base_url
        self._new_client = functools.partial(new_client, transport=inner, headers=headers)
        self._idle = [self._new_client()]

    async def aclose(self) -> None:
        while self._idle:
            await self._idle.pop().aclose()

    async def exchange(self, call: Call, seconds: float) -> HttpReply:
        http = self._idle.pop() if self._idle else self._new_client()
        try:
            async with http.stream(
                call.method,
                f"{self._base_url}{call.route}",
                content=call.content,
                params=call.params or None,
                headers=_call_headers(call),
                # The time for connecting ends before the time of the whole call: its error says that nothing was sent.
                timeout=httpx.Timeout(seconds, connect=min(_CONNECT_SECONDS, seconds * 0.9)),
            ) as response:
                content = await _content(response, call.most_reply_bytes or api_limits.MAX_REPLY_BYTES)
                return HttpReply(response.status_code, response.headers, content)
        except httpx.InvalidURL:
            raise errors.BadAddress("REFLEXIO_URL is not a URL") from None
        except httpx.HTTPError as error:
            raise self._translated(error) from None
        finally:
            if len(self._idle) < _MOST_IDLE:
                self._idle.append(http)
            else:
                await http.aclose()

    def _translated(self, error: httpx.HTTPError) -> errors.ReflexioError:
        if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
            return errors.BadAddress("the call cannot be written as HTTP")
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
            reason = _why_unreachable(error)
            bad_certificate = any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error))
            return errors.Unreachable(f"{self._base_url}: {reason}", bad_certificate=bad_certificate)
        return errors.TimedOut() if isinstance(error, httpx.TimeoutException) else errors.ConnectionLost()


async def _content(response: httpx.Response, most: int) -> bytes:
    """Read and decode a body of at most `most` bytes.

    Raises:
        NotTheApi: its encoding was not asked for. Two layers of gzip turn kilobytes into gigabytes.
        ReplyTooLarge: it is longer.
    """
    if response.headers.get("content-encoding", "identity").lower() not in {"identity", "gzip"}:
        detail = "its encoding was not asked for"
        raise errors.NotTheApi(detail, status=response.status_code)
    content = bytearray()
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > most:
            limit = f"more than {most // 2**20} MiB"
            raise errors.ReplyTooLarge(limit, status=response.status_code)
    return bytes(content)


def _why_unreachable(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.ProxyError):
        return "the proxy refused"
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection in time"
    causes = list(_causes(error))
    for kind, reason in _REASONS:
        if any(isinstance(cause, kind) for cause in causes):
            return reason
    return "no connection"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it. Each address of a host can fail in its own way."""
    yield error
    if isinstance(error, BaseExceptionGroup):
        for part in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _causes(part)
    if earlier := error.__cause__ or error.__context__:
        yield from _causes(earlier)


def _call_headers(call: Call) -> dict[str, str]:
    headers = {"content-type": "application/json"} if call.content is not None else {}
    # Calls are traced only if somebody has imported tracing and opened a span.
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is not None and trace.get_current_span().get_span_context().is_valid:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(headers)
    return headers


def new_client(**options: Any) -> httpx.AsyncClient:
    """Make a client that takes proxies and certificates from the environment and follows no redirect."""
    try:
        return httpx.AsyncClient(follow_redirects=False, verify=tls_context(), **options)
    # httpx raises ImportError if SOCKS support is missing.
    except (httpx.InvalidURL, ValueError, OSError, ImportError) as error:
        raise errors.BadAddress(
            "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or SSL_CERT_FILE is not usable as it is set"
        ) from error


def tls_context() -> ssl.SSLContext:
    """Return the TLS context that all clients share. It uses `SSL_CERT_FILE` and `SSL_CERT_DIR`."""
    return _tls_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.lru_cache(maxsize=1)  # made again when the places of certificates change
def _tls_context(*_places: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()
