"""Access: hosts and origins, and the operator's bearer tokens."""

import hmac
import ipaddress
import re
import secrets
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from mcp.server.transport_security import TransportSecuritySettings

from reflexio_mcp import private_files
from reflexio_mcp.backend import default_store
from reflexio_mcp.settings import ConfigurationError, Settings

peer: Final[ContextVar[str]] = ContextVar("reflexio_mcp_peer", default="")
"""The address that the current request comes from."""

_GENERATED_TOKEN_BYTES: Final = 32
LEAST_TOKEN_CHARS: Final = 16

# `_HOST` and `_ORIGIN` are what the operator may name, also with a wildcard for the port. What a client may send has
# patterns of its own.
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^/\s@?#*:]+)(:\d+|:\*)?")
_ORIGIN: Final = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*://{_HOST.pattern}")
_NAME_AND_PORT: Final = rb"(\[[0-9A-Fa-f:.]+\]|[^/\s@?#*:\[\]]+)(:\d+)?"
_SENT_HOST: Final = re.compile(_NAME_AND_PORT)
_SENT_ORIGIN: Final = re.compile(rb"null|[A-Za-z][A-Za-z0-9+.-]*://" + _NAME_AND_PORT)


def transport_security(settings: Settings, public: str = "") -> TransportSecuritySettings:
    """Return the accepted hosts and origins: this machine's and the operator's.

    Args:
        public: this server's public host, if people sign in.

    Raises:
        ConfigurationError: a value is wrong, or the server's own host is not named.
    """
    _check(settings.allowed_hosts, _HOST, "hosts", "mcp.example or mcp.example:8443")
    _check(settings.allowed_origins, _ORIGIN, "origins", "https://app.example")
    named = list(settings.allowed_hosts)
    if public:
        named.append(public)
    here = ["127.0.0.1", "localhost", "[::1]"]
    if is_loopback(settings.host):
        here.append(settings.host)
    elif not named:
        raise ConfigurationError(
            "The address of --host / REFLEXIO_MCP_HOST can be reached from elsewhere: name the hosts that clients use "
            "with --allowed-hosts / REFLEXIO_MCP_ALLOWED_HOSTS, or bind 127.0.0.1."
        )
    origins = [f"{scheme}://{host}" for scheme in ("http", "https") for host in here]
    # Some proxies add a port to the host, so a host without a port stands for every port. An origin that the operator
    # names does not: with another port, it is another site.
    return TransportSecuritySettings(
        allowed_hosts=_with_ports([*here, *named]),
        allowed_origins=[*_with_ports(origins), *(origin.lower() for origin in settings.allowed_origins)],
    )


def is_loopback(host: str) -> bool:
    """Whether an address can be reached only from this machine."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def fault_of(headers: Sequence[tuple[bytes, bytes]], query: bytes) -> tuple[int, str] | None:
    """Return the status and reason to refuse a request that a proxy and this server could understand differently."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    if b"content-length" in values and b"transfer-encoding" in values:
        return 400, "The request has a Content-Length and a Transfer-Encoding."
    for name in (b"authorization", b"mcp-session-id", b"host", b"origin", b"content-length"):
        if len(values.get(name, ())) > 1:
            return 400, f"The request has more than one header {name.decode()}."
    if b"authorization" in values and any(
        name == "access_token" for name, _ in parse_qsl(query.decode("latin-1"))
    ):
        return 400, "The request has a token in its address and one in its header."
    if not all(_SENT_HOST.fullmatch(value) for value in values.get(b"host", ())):
        return 421, "The Host header is no name of a host."
    if not all(_SENT_ORIGIN.fullmatch(value) for value in values.get(b"origin", ())):
        return 403, "The Origin header is no origin."
    return None


def _check(values: Iterable[str], pattern: re.Pattern[str], option: str, form: str) -> None:
    if not all(pattern.fullmatch(value) for value in values):
        raise ConfigurationError(
            f"--allowed-{option} / REFLEXIO_MCP_ALLOWED_{option.upper()} takes full {option} as in {form}; only the "
            "port can be a wildcard, as in name:*."
        )


def _with_ports(names: Iterable[str]) -> list[str]:
    """Accept any port after a name without a port."""
    lower = [name.lower() for name in names]
    return [*lower, *(f"{name}:*" for name in lower if not _ENDS_WITH_PORT.search(name))]


_ENDS_WITH_PORT: Final = re.compile(r":[^/\]]+$")
"""A scheme has a slash behind its colon, and the colons of an IPv6 address are in brackets."""


class Tokens:
    """The accepted tokens, each with its user.

    Args:
        accepted: `TOKEN`, which reaches every user, or `USER:TOKEN`. A token has no colon (RFC 6750).
    """

    def __init__(self, accepted: Sequence[str]) -> None:
        parts = [entry.rpartition(":") for entry in accepted]
        # With two colons a comma is missing, and one person's token would be part of another's name.
        if any(not token or (colon and not user) or ":" in user for user, colon, token in parts):
            raise ConfigurationError(
                "REFLEXIO_MCP_AUTH_TOKEN takes TOKEN or USER:TOKEN, separated by commas, each with one colon at most."
            )
        self._users = {token.encode(): user for user, _, token in parts}
        if len(self._users) < len(parts):
            raise ConfigurationError(
                "REFLEXIO_MCP_AUTH_TOKEN names one token twice; each user needs their own."
            )

    def user_of(self, given: str) -> str | None:
        """Return the user of a token, empty for every user; `None` if it is not accepted.

        The time does not depend on how much of a token is right.
        """
        found = None
        for token, user in self._users.items():
            if hmac.compare_digest(token, given.encode("utf-8", "surrogatepass")):
                found = user
        return found


def token_file() -> Path:
    return default_store().with_name("http-token")


def bearer_tokens(settings: Settings) -> tuple[Tokens, Path | None]:
    """Return the tokens, and the file of a generated one.

    Raises:
        ConfigurationError: the settings contradict each other, or the file cannot be written.
    """
    if settings.auth_token:
        for option, contradicts in (
            ("--unsafe-no-auth / REFLEXIO_MCP_UNSAFE_NO_AUTH", settings.unsafe_no_auth),
            ("--user-id / REFLEXIO_USER_ID", settings.user_id and settings.many_callers),
        ):
            if contradicts:
                raise ConfigurationError(
                    f"{option} contradicts what REFLEXIO_MCP_AUTH_TOKEN says about callers; unset one."
                )
        if any(len(entry.rpartition(":")[2]) < LEAST_TOKEN_CHARS for entry in settings.auth_token):
            raise ConfigurationError(
                f"REFLEXIO_MCP_AUTH_TOKEN: each token must have {LEAST_TOKEN_CHARS} characters or more, "
                "for example from openssl rand -hex 32."
            )
        return Tokens(settings.auth_token), None
    if settings.unsafe_no_auth or settings.oauth_issuer:
        return Tokens(()), None
    path = token_file()
    try:
        kept = private_files.keep_secret(
            path,
            make=lambda: f"{secrets.token_urlsafe(_GENERATED_TOKEN_BYTES)}\n".encode(),
            # Written in base64, a token has more characters than bytes.
            is_whole=lambda content: content.isascii() and len(content.strip()) >= _GENERATED_TOKEN_BYTES,
        )
    except OSError as error:
        raise ConfigurationError(
            f"The bearer token cannot be kept in {path} ({error.strerror}); set REFLEXIO_MCP_AUTH_TOKEN."
        ) from None
    return Tokens([kept.decode("ascii").strip()]), path
