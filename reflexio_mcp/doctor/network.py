"""The way to the server, step by step: proxy, name, connection, TLS."""

import socket
import ssl
from datetime import UTC, datetime
from functools import partial
from typing import Final
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import anyio
import anyio.to_thread

from reflexio_mcp.doctor.environment import Environment
from reflexio_mcp.doctor.report import Finding, failure, note, ok, skipped, warning

__all__ = ["check_connection", "check_dns", "check_proxy", "check_tls"]

SOON_DAYS: Final = 14
"""A certificate that ends sooner is worth a warning."""


def _port(scheme: str, port: int | None) -> int:
    return port or (443 if scheme == "https" else 80)


def _target(environment: Environment) -> tuple[str, str, int]:
    parts = urlsplit(environment.settings.base_url)
    return parts.scheme, parts.hostname or "", _port(parts.scheme, parts.port)


def _proxy(environment: Environment) -> str:
    """The proxy that a call would go through, or nothing."""
    scheme, host, port = _target(environment)
    proxies = {
        key.lower().removesuffix("_proxy"): value
        for key, value in environment.env.items()
        if key.lower().endswith("_proxy")
    }
    if not proxies or proxy_bypass(f"{host}:{port}", proxies):
        return ""
    return proxies.get(scheme) or proxies.get("all", "")


async def check_proxy(environment: Environment) -> list[Finding]:
    """Which proxy calls go through, and whether it can be reached."""
    proxy = _proxy(environment)
    if not proxy:
        return [ok("no proxy is used")]
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.password:
        environment.report.secrets.add(parts.password)
    host, port = parts.hostname or "", _port(parts.scheme, parts.port)
    if problem := await _cannot_connect(host, port, environment.seconds):
        return [failure("proxy-unreachable", f"calls go through the proxy {host}:{port}, and {problem}")]
    _, target, _ = _target(environment)
    if target in ("localhost", "127.0.0.1", "::1"):
        said = f"calls to {target} go through the proxy {host}:{port}"
        return [warning("proxy-for-localhost", said, do=f"Add {target} to NO_PROXY.")]
    return [note(f"calls go through the proxy {host}:{port}")]


async def check_dns(environment: Environment) -> list[Finding]:
    """Whether the name exists."""
    if _proxy(environment):
        return [skipped("the proxy looks the name up")]
    _, host, port = _target(environment)
    try:
        with anyio.fail_after(environment.seconds):
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        return [failure("name-service-silent", f"the name service does not answer for {host}")]
    except (OSError, UnicodeError):
        said, do = f"the name {host} is not known", environment.address_advice()
        why = "" if environment.settings.url else "This machine has no name service now, or no way out."
        return [failure("host-unknown", said, why=why, do=do)]
    addresses = sorted({str(one[4][0]) for one in found})
    return [ok(f"{host} is {', '.join(addresses[:3])}")]


async def check_connection(environment: Environment) -> list[Finding]:
    """Whether anything listens there."""
    if _proxy(environment):
        return [skipped("the proxy connects")]
    _, host, port = _target(environment)
    problem = await _cannot_connect(host, port, environment.seconds)
    if not problem:
        return [ok(f"{host}:{port} accepts connections")]
    name = "connection-refused" if "refused" in problem else "connection-times-out"
    return [failure(name, f"{host}:{port}: {problem}", do=environment.address_advice())]


async def check_tls(environment: Environment) -> list[Finding]:
    """Whether this machine trusts the certificate for this name, and for how long."""
    scheme, host, port = _target(environment)
    if scheme == "http":
        return [skipped("the address is plain http")]
    if _proxy(environment):
        return [skipped("checked by the calls below, through the proxy")]
    try:
        ends = await anyio.to_thread.run_sync(
            partial(_handshake, host, port, environment.seconds), abandon_on_cancel=True
        )
    except ssl.SSLCertVerificationError as error:
        said = error.verify_message.lower()
        if "expired" in said:
            return [failure("tls-expired", f"the certificate of {host} has expired")]
        if "hostname" in said or "ip address" in said:
            return [failure("tls-wrong-host", f"the certificate there is not for {host}")]
        return [failure("tls-untrusted", f"the certificate of {host} is not trusted here")]
    except ssl.SSLError:
        said = f"{host}:{port} does not speak TLS"
        return [failure("tls-not-spoken", said, do=environment.address_advice())]
    except OSError:
        return [failure("tls-broken", f"{host}:{port} broke off the TLS handshake")]
    days = (ends - datetime.now(UTC)).days
    if days < SOON_DAYS:
        return [warning("tls-ends-soon", f"the certificate of {host} ends in {days} days")]
    return [ok(f"the certificate of {host} is trusted for {days} more days")]


def _handshake(host: str, port: int, seconds: float) -> datetime:
    from reflexio_mcp.rest.transport import trust

    with (
        socket.create_connection((host, port), timeout=seconds) as plain,
        trust().wrap_socket(plain, server_hostname=host) as wrapped,
    ):
        certificate = wrapped.getpeercert() or {}
    ends = str(certificate.get("notAfter", "Jan  1 00:00:00 2100 GMT"))
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC)


async def _cannot_connect(host: str, port: int, seconds: float) -> str:
    """Why no connection can be made, or nothing."""
    try:
        with anyio.fail_after(seconds):
            stream = await anyio.connect_tcp(host, port)
            await stream.aclose()
    except TimeoutError:
        return f"no connection within {seconds:g} s"
    except OSError as error:
        text = str(error).lower()
        causes = [str(one).lower() for one in getattr(error.__cause__, "exceptions", [error.__cause__])]
        if any("refused" in one or "all connection attempts" in one for one in [text, *causes]):
            return "the connection is refused"
        return "no connection can be made"
    return ""
