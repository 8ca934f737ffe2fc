"""Calls over HTTP.

The only module that imports `httpx`. It is imported at the first call, to keep it out of the start-up time.
"""

import functools
import importlib.util
import os
import ssl
import sys
import zlib
from typing import Any, Final, cast

import httpx

from reflexio_mcp.rest import api_limits, errors
from reflexio_mcp.rest.responses import Call, HttpReply
from reflexio_mcp.rest.retry import Failure, reply_too_large

__all__ = ["HttpTransport", "new_client", "trust"]

if importlib.util.find_spec("sniffio") is None:
    # Its HTTP core tries to import it several times a call, and each time all of the path would be searched in vain.
    sys.modules.setdefault("sniffio", cast("Any", None))

_CONNECT_SECONDS: Final = 10.0
_STEP_BYTES: Final = 2**20
"""Of a reply that are decoded at once."""


class HttpTransport:
    """One connection pool.

    Args:
        inner: an `httpx` transport instead of the network.

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
        self._http = new_client(transport=inner, headers=headers)

    async def aclose(self) -> None:
        """Close the pool."""
        await self._http.aclose()

    async def exchange(self, call: Call, seconds: float) -> HttpReply | Failure:
        """Send a call once. What `httpx` raises becomes a failure."""
        try:
            async with self._http.stream(
                call.method,
                f"{self._base_url}{call.route}",
                content=call.content,
                params=call.params or None,
                headers=_call_headers(call),
                timeout=httpx.Timeout(seconds, connect=min(_CONNECT_SECONDS, seconds * 0.9)),
            ) as response:
                return HttpReply(response.status_code, response.headers, await _content(response))
        except errors.ReflexioError as error:
            # The frames in its traceback hold what was read of the reply.
            error.__traceback__ = error.__context__ = None
            return Failure(error, repeatable=isinstance(error, errors.ConnectionLost))
        except httpx.HTTPError as error:
            return self._broken(error)
        except httpx.InvalidURL:
            return Failure(errors.BadAddress("REFLEXIO_URL is not a URL"))

    def _broken(self, error: httpx.HTTPError) -> Failure:
        if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
            return Failure(errors.BadAddress("the call cannot be written as HTTP"))
        if isinstance(
            error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError
        ):
            reason, passing = _why_unreachable(error)
            return Failure(errors.Unreachable(f"{self._base_url}: {reason}"), repeatable=passing)
        if isinstance(error, httpx.TimeoutException):
            return Failure(errors.TimedOut())
        return Failure(errors.ConnectionLost(), repeatable=True)


async def _content(response: httpx.Response) -> bytearray:
    """Read and decode the body of a reply, up to a limit.

    `httpx` would decode each piece it receives as a whole, and a few kilobytes can stand for gigabytes.

    Raises:
        ReplyTooLarge: there is more than this client takes.
        ConnectionLost: the body is cut short or cannot be decoded.
        NotTheApi: it is encoded in a way that was not asked for.
    """
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding not in {"identity", "gzip"}:
        raise errors.NotTheApi(
            "its answer is encoded in a way that was not asked for", status=response.status_code
        )
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoding == "gzip" else None
    most = api_limits.MAX_REPLY_BYTES
    content = bytearray()
    count = 0
    # As it is received; `aiter_raw` refuses a stream that is in memory already.
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for received in response.stream:
        count += len(received)
        if unpacker is None:
            content += received
        elif unpacker.eof and received:
            raise errors.ConnectionLost  # no gzip any more; the unpacker would keep all of it
        else:
            _unpack(unpacker, received, content, most + 1)
        # Compressed, endlessly much can stand for nothing.
        if max(count, len(content)) > most:
            raise reply_too_large(response.status_code)
    if unpacker is not None and count and not unpacker.eof:
        raise errors.ConnectionLost
    return content


def _unpack(unpacker: Any, packed: bytes, content: bytearray, most: int) -> None:
    """Add what a piece of gzip stands for, in small steps, until there are `most` bytes.

    Raises:
        ConnectionLost: it is no gzip.
    """
    while packed and len(content) < most:
        try:
            content += unpacker.decompress(packed, min(_STEP_BYTES, most - len(content)))
        except zlib.error:
            raise errors.ConnectionLost from None
        packed = unpacker.unconsumed_tail


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


def _call_headers(call: Call) -> dict[str, str]:
    headers = {"content-type": "application/json"} if call.content is not None else {}
    # Nothing to do unless somebody has imported tracing and opened a span.
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is not None and trace.get_current_span().get_span_context().is_valid:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(headers)
    return headers


def new_client(**options: Any) -> httpx.AsyncClient:
    """A client that takes proxies and trusted certificates from the environment, and follows no redirect.

    Args:
        options: further ones of `httpx.AsyncClient`.

    Raises:
        BadAddress: the environment's proxy or certificate settings cannot be used.
    """
    try:
        return httpx.AsyncClient(follow_redirects=False, verify=trust(), **options)
    # ImportError: httpx needs a further package for SOCKS.
    except (httpx.InvalidURL, ValueError, OSError, ImportError) as error:
        raise errors.BadAddress(
            "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or SSL_CERT_FILE is not usable as it is set"
        ) from error


def trust() -> ssl.SSLContext:
    """The TLS context that calls are made with. It heeds `SSL_CERT_FILE` and `SSL_CERT_DIR`.

    All clients of this process share it: one holds every certificate that is trusted, about a megabyte.
    """
    return _trust(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.lru_cache(maxsize=1)
def _trust(*_places: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()
