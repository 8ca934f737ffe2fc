"""Who may call: checks of Host, Origin, bearer token and repeated headers.

Everything is decided from the head of a request, before its body is read.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote_to_bytes

from starlette.types import Scope

from reflexio_mcp.http.bearer_tokens import Tokens
from reflexio_mcp.http.refusal import Refusal, is_loopback
from reflexio_mcp.server.callers import KEY_HEADER, USER_HEADER, Caller, CallerRefused, read_caller
from reflexio_mcp.settings import ConfigurationError, Settings

if TYPE_CHECKING:
    from reflexio_mcp.http.oauth import SignIn

__all__ = ["MOST_HEAD_BYTES", "Guard"]

MOST_HEAD_BYTES: Final = 32 * 1024

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")

_ONCE: Final = frozenset(
    {
        b"authorization",
        b"host",
        b"origin",
        b"content-type",
        b"content-length",
        b"mcp-session-id",
        KEY_HEADER,
        USER_HEADER,
    }
)
"""Headers that decide who is calling and for whom. Of one sent twice, two readers could each take another."""

_TOKEN_PARAMETERS: Final = frozenset(
    {"token", "access_token", "auth_token", "bearer", "authorization", "api_key"}
)


_MOST_PARAMETERS: Final = 100

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_HOST: Final = re.compile(r"[^/\s@?#]+")


class Guard:
    """Refuses requests that must not be answered, by raising `Refusal`.

    Args:
        settings: what the operator allows.
        tokens: the bearer tokens that are accepted.
        sign_in: checks the tokens that are not the operator's own.

    Raises:
        ConfigurationError: an allowed host or origin is malformed, or none is named where others can reach the server.
    """

    def __init__(self, settings: Settings, tokens: Tokens, sign_in: "SignIn | None" = None) -> None:
        named = [*settings.allowed_hosts, *([sign_in.host] if sign_in else [])]
        if not is_loopback(settings.host) and not named:
            raise ConfigurationError(
                "The address of --host / REFLEXIO_MCP_HOST can be reached from elsewhere: name the hosts that "
                "clients use with --allowed-hosts / REFLEXIO_MCP_ALLOWED_HOSTS, or bind 127.0.0.1."
            )
        for option, values in (("hosts", settings.allowed_hosts), ("origins", settings.allowed_origins)):
            if not all(_HOST.fullmatch(one) if option == "hosts" else _is_origin(one) for one in values):
                form = "mcp.example or mcp.example:8443" if option == "hosts" else "https://app.example"
                raise ConfigurationError(
                    f"--allowed-{option} / REFLEXIO_MCP_ALLOWED_{option.upper()} takes {option} as in {form}."
                )
            if any(
                value.partition(":")[0] in ("*", "") or value.count("*") > value.endswith(":*")
                for value in values
            ):
                raise ConfigurationError(
                    f"--allowed-{option} / REFLEXIO_MCP_ALLOWED_{option.upper()} takes whole names; only a port may "
                    "be left open, as in name:*."
                )
        self._settings = settings
        self._tokens = tokens
        self._sign_in = sign_in
        bound = f"[{settings.host.strip('[]')}]" if ":" in settings.host else settings.host
        here = [*LOOPBACK, *([bound.lower()] if is_loopback(settings.host) else [])]
        self.hosts = _with_ports([*here, *named])
        loopback = [f"{scheme}://{host}" for scheme in ("http", "https") for host in here]
        self.origins = [*_with_ports(loopback), *(origin.lower() for origin in settings.allowed_origins)]

    def check_form(self, scope: Scope) -> None:
        """Check what every request needs, even one that needs no token: its length, and where its body ends."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        names = {name for name, _ in headers}
        if b"transfer-encoding" in names and b"content-length" in names:
            raise Refusal(400, "two_lengths", "A body has a length or is chunked, not both.")
        long = sum(len(name) + len(value) + 4 for name, value in headers)
        if long + len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MOST_HEAD_BYTES:
            raise Refusal(431, "long_head", f"The head of a request may have {MOST_HEAD_BYTES // 1024} KiB.")

    def check_method(self, scope: Scope, allowed: Sequence[str]) -> None:
        """Check that a path takes this method."""
        if scope["method"] not in allowed:
            raise Refusal(
                405,
                "method",
                f"This address takes only {' and '.join(allowed)}.",
                [(b"allow", ", ".join(allowed).encode())],
            )

    async def admit(self, scope: Scope) -> Caller:
        """The caller of a request."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        counts = Counter(name for name, _ in headers if name in _ONCE)
        if any(count > 1 for count in counts.values()):
            raise Refusal(400, "duplicate_header", "A header that may be sent once was sent twice.")
        query: bytes = scope["query_string"]
        if query and (
            self._tokens.are_in(query)
            or self._tokens.are_in(unquote_to_bytes(query))
            or _names_a_token(query)
        ):
            raise Refusal(
                400,
                "token_in_query",
                "Tokens do not belong in the address: send Authorization: Bearer TOKEN.",
            )
        token = self._token(headers)
        accepted = self._tokens.check(token)
        if not accepted and (self._tokens or self._sign_in) and (not token or self._sign_in is None):
            raise self._unknown(sent=bool(token))
        try:
            caller = read_caller(headers, self._settings, token=token.decode("latin-1"))
        except CallerRefused as refused:
            raise Refusal(403, refused.reason, refused.text) from None
        if accepted or self._sign_in is None:
            return caller
        return await self._sign_in.caller(token.decode("latin-1"))

    def check_host_and_origin(self, scope: Scope) -> None:
        """Check Host and Origin, which keep other people's web pages out."""
        self.check_host(scope)
        origins = _values(scope, b"origin")
        if origins and (len(origins) != 1 or not _allowed(origins[0], self.origins)):
            raise Refusal(403, "origin", "This Origin is not allowed here; see --allowed-origins.")

    def check_host(self, scope: Scope) -> None:
        """Check the Host, which keeps out web pages that reach this server under another name (DNS rebinding)."""
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or not _allowed(hosts[0], self.hosts):
            raise Refusal(421, "host", "This server does not answer to that Host; see --allowed-hosts.")

    def _token(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        if not (self._tokens or self._sign_in):
            return b""
        value = next((value for name, value in headers if name == b"authorization"), b"")
        scheme, _, given = value.partition(b" ")
        return given.strip() if scheme.lower() == b"bearer" else b""

    def _unknown(self, *, sent: bool) -> Refusal:
        if self._sign_in is not None:  # it judges what is sent
            text = f"Sign in first, at {self._settings.oauth_issuer}; the client does it where it supports OAuth."
            return Refusal(401, "no_token", text, [self._sign_in.challenge()])
        text = "A bearer token is required: send Authorization: Bearer TOKEN."
        if sent:
            text = (
                "The bearer token is not one that this server accepts; ask its operator for the current one."
            )
        return Refusal(401, "token" if sent else "no_token", text, [(b"www-authenticate", b"Bearer")])


def _is_origin(text: str) -> bool:
    scheme, _, host = text.partition("://")
    return bool(_SCHEME.fullmatch(scheme) and _HOST.fullmatch(host))


def _with_ports(names: Sequence[str]) -> list[str]:
    # A name without a port stands for every port of it: what is public there is up to the proxy.
    return [
        form
        for name in names
        for form in ([name.lower()] if _has_port(name) else [name.lower(), f"{name.lower()}:*"])
    ]


def _has_port(name: str) -> bool:
    return ":" in name.rpartition("]")[2].rpartition("//")[2]


def _allowed(value: str, patterns: Sequence[str]) -> bool:
    value = value.lower()
    for pattern in patterns:
        if value == pattern:
            return True
        if pattern.endswith(":*") and value.startswith(pattern[:-1]) and value[len(pattern) - 1 :].isdigit():
            return True
    return False


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key == name]


def _names_a_token(query: bytes) -> bool:
    try:
        fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise Refusal(400, "query", "The address has too many parameters.") from None
    return any(name.lower() in _TOKEN_PARAMETERS for name, _ in fields)
