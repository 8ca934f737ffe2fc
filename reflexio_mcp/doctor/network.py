"""The way to the server, step by step: name, proxy, connection, TLS."""

import socket
import ssl
from datetime import UTC, datetime
from functools import partial
from typing import Final
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import anyio
import anyio.to_thread

from reflexio_mcp.doctor.case import Case, default_port
from reflexio_mcp.doctor.report import Finding, failure, note, ok, skipped, warning

__all__ = ["check_connection", "check_dns", "check_proxy", "check_tls"]

SOON_DAYS: Final = 14
"""A certificate that ends sooner is worth a warning."""


def _target(case: Case) -> tuple[str, str, int]:
    parts = urlsplit(case.settings.base_url)
    return parts.scheme, parts.hostname or "", parts.port or default_port(parts.scheme)


def _proxy(case: Case) -> str:
    """The proxy that a call would go through, or nothing."""
    scheme, host, port = _target(case)
    variables = {key.lower(): value for key, value in case.env.items() if key.lower().endswith("_proxy")}
    if not variables:
        return ""
    proxies = {key.removesuffix("_proxy"): value for key, value in variables.items()}
    if proxy_bypass(f"{host}:{port}", proxies):
        return ""
    return proxies.get(scheme) or proxies.get("all", "")


async def check_proxy(case: Case) -> list[Finding]:
    """Which proxy is in the way, and whether it is there."""
    if case.settings.embedded:
        return [skipped("the embedded store needs no network")]
    proxy = _proxy(case)
    if not proxy:
        return [ok("no proxy is in the way")]
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.password:
        case.report.secrets.add(parts.password)
    host, port = parts.hostname or "", parts.port or default_port(parts.scheme)
    shown = f"{host}:{port}"
    if problem := await _cannot_connect(host, port, case.seconds):
        return [
            failure(
                "proxy-unreachable",
                f"calls go through the proxy {shown}, and {problem}",
                "A *_PROXY variable names it, so no call arrives.",
                "Correct the variable, or add the server's host to NO_PROXY.",
            )
        ]
    _, target, _ = _target(case)
    if target in ("localhost", "127.0.0.1", "::1"):
        return [
            warning(
                "proxy-for-localhost",
                f"calls to {target} go through the proxy {shown}",
                "The proxy has a localhost of its own and will not find this one.",
                f"Add {target} to NO_PROXY.",
            )
        ]
    return [note(f"calls go through the proxy {shown}")]


async def check_dns(case: Case) -> list[Finding]:
    """Does the name exist."""
    if case.settings.embedded:
        return [skipped("the embedded store needs no network")]
    if _proxy(case):
        return [skipped("the proxy looks the name up")]
    _, host, port = _target(case)
    try:
        with anyio.fail_after(case.seconds):
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        return [
            failure(
                "name-service-silent",
                f"nobody answered which address {host} has",
                "The name service of this machine does not answer.",
                "Check the network or the VPN of this machine.",
            )
        ]
    except (OSError, UnicodeError):
        return [
            failure(
                "host-unknown",
                f"the name {host} is not known",
                "It is misspelt in REFLEXIO_URL, or this machine has no name service now."
                if case.settings.url
                else "This machine has no name service now, or its network does not let it out.",
                case.advice(
                    f"Open {case.settings.base_url} in a browser on this machine and correct REFLEXIO_URL."
                ),
            )
        ]
    addresses = sorted({str(one[4][0]) for one in found})
    return [ok(f"{host} is {', '.join(addresses[:3])}")]


async def check_connection(case: Case) -> list[Finding]:
    """Does anybody listen there."""
    if case.settings.embedded:
        return [skipped("the embedded store needs no network")]
    if _proxy(case):
        return [skipped("the proxy connects")]
    _, host, port = _target(case)
    problem = await _cannot_connect(host, port, case.seconds)
    if not problem:
        return [ok(f"{host}:{port} takes connections")]
    refused = "refused" in problem
    return [
        failure(
            "connection-refused" if refused else "connection-times-out",
            f"{host}:{port}: {problem}",
            "Nothing listens on that port." if refused else "A firewall drops it, or the machine is off.",
            case.advice(
                "Start the Reflexio server, or correct the port in REFLEXIO_URL."
                if refused
                else "Check the address in REFLEXIO_URL, the VPN and the firewall."
            ),
        )
    ]


async def check_tls(case: Case) -> list[Finding]:
    """Is the certificate one that this machine trusts, for this name, and for how long."""
    if case.settings.embedded:
        return [skipped("the embedded store needs no network")]
    scheme, host, port = _target(case)
    if scheme == "http":
        return [skipped("the address is plain http")]
    if _proxy(case):
        return [skipped("seen through the proxy by the calls below")]
    try:
        ends = await anyio.to_thread.run_sync(
            partial(_handshake, host, port, case.seconds), abandon_on_cancel=True
        )
    except ssl.SSLCertVerificationError as error:
        return [_certificate(error, host)]
    except (ssl.SSLError, OSError) as error:
        plain = isinstance(error, ssl.SSLError)
        return [
            failure(
                "tls-not-spoken" if plain else "tls-broken",
                f"{host}:{port} does not speak TLS"
                if plain
                else f"{host}:{port} broke the TLS handshake off",
                "What listens there is a plain http server." if plain else "Something on the way ends it.",
                case.advice("Write http:// in REFLEXIO_URL, or use the port that has TLS.")
                if plain
                else "Check for a proxy or a firewall that inspects TLS.",
            )
        ]
    days = (ends - datetime.now(UTC)).days
    if days < SOON_DAYS:
        return [
            warning(
                "tls-ends-soon",
                f"the certificate of {host} ends in {days} days",
                "After that no call will work.",
                "Tell who runs the server to renew it.",
            )
        ]
    return [ok(f"the certificate of {host} is trusted for {days} more days")]


def _certificate(error: ssl.SSLCertVerificationError, host: str) -> Finding:
    said = error.verify_message.lower()
    if "expired" in said:
        return failure(
            "tls-expired",
            f"the certificate of {host} has expired",
            "No call will be sent to it.",
            "Have it renewed, and check that this machine's clock is right.",
        )
    if "hostname" in said or "ip address" in said:
        return failure(
            "tls-wrong-host",
            f"the certificate there is not for {host}",
            "The address is not the one it was made for.",
            "Use the name that the certificate has in REFLEXIO_URL.",
        )
    return failure(
        "tls-untrusted",
        f"the certificate of {host} is not trusted here",
        "Its issuer is not among those that this machine knows: a company's own, or self-signed.",
        "Name the issuer's certificate file in SSL_CERT_FILE.",
    )


def _handshake(host: str, port: int, seconds: float) -> datetime:
    from reflexio_mcp.rest.tls import trust

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
