"""Sign-in: the server as an OAuth 2.1 resource server that takes access tokens of one authorization server.

It issues no tokens itself. The rules are those of the MCP authorization specification (2025-11-25) and of RFC 6750
(bearer tokens), 7519 and 8725 (JWT), 7662 (introspection), 8414 (metadata), 9068 (JWTs as access tokens) and 9728
(what a client is told about this resource).
"""

import hashlib
import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, Final, cast
from urllib.parse import quote_plus, urlsplit

import anyio
import httpx
import jwt
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from pydantic import AnyHttpUrl
from starlette.routing import Route

from reflexio_mcp.http.addresses import is_loopback, peer
from reflexio_mcp.http.refusal import Refusal
from reflexio_mcp.rest.errors import BadAddress
from reflexio_mcp.rest.transport import new_client
from reflexio_mcp.server.callers import Caller, person
from reflexio_mcp.settings import ConfigurationError, Settings
from reflexio_mcp.toolkit.caller_quota import Quota
from reflexio_mcp.toolkit.spec import Permission

__all__ = ["REFUSED", "SignIn"]

PREFIX: Final = "memory:"
"""Of each scope: `memory:read` is `Permission.READ`."""

OPERATOR: Final = f"{PREFIX}operator"
"""The scope of those who see every user."""

ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""Signatures with a public key. A shared secret or `none` would let the caller sign."""

TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})

FRESH_SECONDS: Final = 300.0
"""How long the keys of the authorization server are used without asking again."""

STALE_SECONDS: Final = 3600.0
"""How long they are used while it gives none."""

ASK_AGAIN_SECONDS: Final = 10.0
"""Least time between two fetches, whatever key ids callers make up."""

FETCH_SECONDS: Final = 8.0
REMEMBER_SECONDS: Final = 15.0
"""How long an introspection holds; a revoked token works that much longer. An open stream is checked as often."""

REFUSED_SECONDS: Final = 5.0
"""How long a token that was refused is remembered."""

MOST_REMEMBERED: Final = 10_000
MOST_ASKING: Final = 64
"""Introspections at a time."""

PEER_SHARE: Final = 8
"""Introspections at a time for requests from one address, so that made-up tokens lock out nobody else."""

LEEWAY_SECONDS: Final = 30
MOST_REPLY_BYTES: Final = 1024 * 1024
MOST_USER_CHARS: Final = 1000

AWAY: Final = "cannot be reached"
UNREADABLE: Final = "gives no metadata or keys that can be read"
BUSY: Final = "is being asked about too many tokens"
REFUSED: Final = "refuses this server's client id and secret"

Json = Mapping[str, Any]


class _Unreachable(Exception):
    """The authorization server did not give what is needed to check a token; the text goes on after its name."""


class _Invalid(Exception):
    """A token that is not accepted; the text says why without repeating any of it."""


class SignIn:
    """Decides who a token of the authorization server stands for, and what its bearer may do.

    Args:
        settings: names the authorization server (`oauth_issuer`) and this resource (`oauth_audience`).
        tools: what each tool that is offered needs. Nobody is asked to grant what no tool here does.
        clock: monotonic seconds.

    Raises:
        ConfigurationError: settings that contradict each other.
    """

    def __init__(
        self,
        settings: Settings,
        tools: Mapping[str, Permission],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _check(settings)
        self._settings = settings
        self._tools = tools
        self._issuer = settings.oauth_issuer
        # A client that writes a URL its own way asks for a token with or without the last slash.
        self._audiences = [settings.oauth_audience, f"{settings.oauth_audience}/"]
        self.metadata_url = build_resource_metadata_url(AnyHttpUrl(settings.oauth_audience))
        try:
            # Plain http is for this machine alone, so no proxy may see it.
            self._http = new_client(timeout=FETCH_SECONDS, mounts={"http://": None})
        except BadAddress as error:
            raise ConfigurationError(f"{error}.") from None
        self._clock = clock
        self._fetching = anyio.Lock()
        self._fetched_at = -ASK_AGAIN_SECONDS
        self._found_at = -STALE_SECONDS
        self._why_not = AWAY
        self._endpoints: Json = {}
        self._keys: list[Json] = []
        self._asking = Quota(PEER_SHARE, MOST_ASKING)
        self._accepted = _Remembered(clock, REMEMBER_SECONDS)
        self._refused = _Remembered(clock, REFUSED_SECONDS)

    @property
    def host(self) -> str:
        """The host at which clients reach this resource, without its port: a proxy may pass it on or leave it out."""
        parts = urlsplit(self._settings.oauth_audience)
        return parts.netloc.removesuffix(f":{parts.port}")

    def metadata_routes(self) -> list[Route]:
        """What RFC 9728 tells a client about this resource.

        Operators know of their scope, which is not named: some clients ask for every scope that is.
        """
        return create_protected_resource_routes(
            cast(
                "Any", self._settings.oauth_audience
            ),  # an `AnyHttpUrl` would write the names in another way
            cast("Any", [self._issuer]),
            scopes_supported=_in_order(set(self._tools.values())),
            resource_name="Reflexio memory",
        )

    def check_tool(self, tool: str, caller: Caller) -> None:
        """Let no call of a tool through that the caller's scopes do not cover: the client asks the person for more.

        A tool that is offered to nobody is left to the server, which says so.

        Raises:
            Refusal: a scope is missing.
        """
        needed = self._tools.get(tool)
        if needed and caller.permissions is not None and needed not in caller.permissions:
            raise self._needs(caller, needed)

    async def caller(self, token: str) -> Caller:
        """The person that a token stands for.

        Raises:
            Refusal: the token is not accepted (401), grants nothing here (403), or cannot be checked now (503).
        """
        try:
            claims, revocable = await self._claims(token)
            caller = self._person(claims)
            return replace(caller, token_ends=lambda: self._ends(token, caller)) if revocable else caller
        except _Invalid as error:
            raise Refusal(
                401, f"{error} Sign in again.", self._challenge("invalid_token"), error="invalid_token"
            ) from None
        except _Unreachable as error:
            passes = str(error).startswith((AWAY, BUSY))
            advice = "try again in a moment" if passes else "if it stays so, tell the operator of this server"
            text = f"The sign-in service {error}, so the token cannot be checked; {advice}."
            raise Refusal(503, text, {"retry-after": "10"}, error="temporarily_unavailable") from None

    async def trouble(self) -> tuple[str, bool]:
        """Why tokens cannot be checked, as what follows the authorization server's name; empty if they can.

        Its metadata and keys are read and, if this server has a client there, it is asked about a token.

        Returns:
            The reason, and whether JWTs are checked all the same.
        """
        signed = False
        try:
            signed = bool(await self._known_keys())
            if self._settings.oauth_client_id:
                await self._asked("whether-this-client-may-ask")
            elif not signed:
                return "has no keys", False
        except _Unreachable as error:
            return str(error), signed
        return "", signed

    async def aclose(self) -> None:
        """Close the connections to the authorization server."""
        await self._http.aclose()

    def _challenge(self, error: str, scopes: Sequence[str] = ()) -> dict[str, str]:
        """The header that tells a client where and for what to sign in."""
        said = [f'error="{error}"', f'resource_metadata="{self.metadata_url}"']
        if scopes:
            said.append(f'scope="{" ".join(scopes)}"')
        return {"www-authenticate": f"Bearer {', '.join(said)}"}

    def _needs(self, caller: Caller, missing: Permission) -> Refusal:
        """The answer to a call that the caller's scopes do not cover; it asks for those and the missing one.

        A client takes a new token with these scopes alone: an operator's without theirs would be another person's.
        """
        scopes = _in_order({*(caller.permissions or ()), missing})
        if not caller.user_id:
            scopes.append(OPERATOR)
        return Refusal(
            403,
            f"This needs the scope {PREFIX}{missing}; nothing was done. Sign in again and grant it.",
            self._challenge("insufficient_scope", scopes),
            error="insufficient_scope",
        )

    def _person(self, claims: Json) -> Caller:
        user = claims.get(self._settings.oauth_user_claim)
        # Blanks around it are not cut off: that would make one person of two.
        if not isinstance(user, str) or not user or user != user.strip() or not user.isprintable():
            raise _Invalid("The token names no user in the claim that this server reads.")
        if len(user) > MOST_USER_CHARS:
            raise _Invalid("The token names a user whose name is too long.")
        # Whoever has not shown that an address is theirs may have typed somebody else's.
        if self._settings.oauth_user_claim == "email" and claims.get("email_verified") not in (
            None,
            True,
            "true",
        ):
            raise _Invalid("The token names an e-mail address that is not verified.")
        scopes = _scopes_of(claims)
        permissions = frozenset(one for one in Permission if f"{PREFIX}{one}" in scopes)
        expires_at = _moment(claims, "exp", math.inf)
        user_id = "" if OPERATOR in scopes else user
        caller = person(self._settings, str(claims["sub"]), user_id, permissions, expires_at)
        if not permissions:
            least = (one for one in Permission if one in self._tools.values())
            raise self._needs(caller, next(least, Permission.READ))
        return caller

    async def _ends(self, token: str, caller: Caller) -> None:
        """Return when a token stands for this caller no more, or cannot be checked twice running."""
        unchecked = 0
        while unchecked < 2:
            await anyio.sleep(REMEMBER_SECONDS)
            try:
                found = await self.caller(token)
                if (found.name, found.permissions) != (caller.name, caller.permissions):
                    return
                unchecked = 0
            except Refusal as refused:
                if refused.status_code != 503:
                    return
                unchecked += 1

    async def _claims(self, token: str) -> tuple[Json, bool]:
        """What a token says, and whether the authorization server, which was asked, may revoke it."""
        if token.count(".") == 2:
            try:
                header = jwt.get_unverified_header(token)
            except (jwt.PyJWTError, ValueError, RecursionError):
                header = None
            if header is not None:
                return _checked(await self._signed(token, header)), False
        if not self._settings.oauth_client_id:
            raise _Invalid("The token is not one that this server can read.")
        return _checked(await self._introspected(token)), True

    async def _signed(self, token: str, header: Json) -> Json:
        algorithm, kid = header.get("alg"), header.get("kid")
        if (
            not isinstance(algorithm, str)
            or algorithm not in ALGORITHMS
            or str(header.get("typ", "JWT")).lower() not in TYPES
            or "crit" in header
        ):
            raise _Invalid("The token is signed in a way that is not accepted here.")
        key = _fitting(await self._known_keys(), algorithm, kid)
        if key is None:
            key = _fitting(await self._known_keys(again=True), algorithm, kid)
        if key is None:
            raise _Invalid("The token is not signed with a key of the sign-in service.")
        try:
            return jwt.decode(
                token,
                jwt.PyJWK(dict(key), algorithm=algorithm),
                algorithms=[algorithm],
                audience=self._audiences,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise _Invalid("The token has expired.") from None
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
            raise _Invalid("The token was issued for another server, or by another service.") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise _Invalid("The token is not valid.") from None

    async def _introspected(self, token: str) -> Json:
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        reply = self._accepted.get(digest)
        if reply is None:
            reply = self._refused.get(digest) or await self._asked(token)
            active = reply.get("active") is True
            (self._accepted if active else self._refused).put(digest, reply)
            if not active:
                raise _Invalid("The token is not valid, or not any more.")
        if str(reply.get("token_type") or "bearer").lower() not in ("bearer", "access_token"):
            raise _Invalid("The token is not an access token to be sent as it is.")
        audience = reply.get("aud")
        named = cast("list[Any]", audience) if isinstance(audience, list) else [audience]
        if not any(one in self._audiences for one in named) or reply.get("iss", self._issuer) != self._issuer:
            raise _Invalid("The token was issued for another server, or by another service.")
        if time.time() >= _moment(reply, "exp", math.inf) + LEEWAY_SECONDS:
            raise _Invalid("The token has expired.")
        if time.time() < _moment(reply, "nbf", -math.inf) - LEEWAY_SECONDS:
            raise _Invalid("The token is not valid yet.")
        return reply

    async def _asked(self, token: str) -> Json:
        await self._known_keys()
        endpoint = self._endpoints.get("introspection_endpoint")
        if not isinstance(endpoint, str) or not _is_encrypted_or_here(endpoint):
            raise _Unreachable("names no introspection endpoint that can be used")
        # Encoded as in a form (RFC 6749, 2.3.1).
        secret = (quote_plus(self._settings.oauth_client_id), quote_plus(self._settings.oauth_client_secret))
        with self._asking.hold(peer.get()) as taken:
            if not taken:
                raise _Unreachable(BUSY)
            try:
                return await self._reply("POST", endpoint, data={"token": token}, auth=secret)
            except _Unreachable as error:
                raise _Unreachable(f"{error} at its introspection endpoint") from None

    async def _known_keys(self, *, again: bool = False) -> list[Json]:
        """The authorization server's keys; `again` if a token names a key that is not among them and may be new."""
        age = self._clock() - self._found_at
        if not again and (age < FRESH_SECONDS or (age < STALE_SECONDS and self._fetching.locked())):
            return self._keys
        async with self._fetching:  # one fetch for everybody who waits for it
            if self._clock() - self._fetched_at >= ASK_AGAIN_SECONDS:
                self._why_not = AWAY
                with anyio.move_on_after(FETCH_SECONDS):
                    if await self._discover():
                        self._found_at = self._clock()
                self._fetched_at = self._clock()
        if self._clock() - self._found_at >= STALE_SECONDS:
            raise _Unreachable(self._why_not)
        return self._keys

    async def _discover(self) -> bool:
        """Read metadata and keys where they may be; what was wrong is kept, since the time may run out."""
        parts = urlsplit(self._issuer)
        origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
        places = (
            f"{origin}/.well-known/oauth-authorization-server{path}",
            f"{origin}/.well-known/openid-configuration{path}",
            f"{origin}{path}/.well-known/openid-configuration",
        )
        for place in dict.fromkeys(places):
            try:
                found = await self._reply("GET", place)
                if found.get("issuer") != self._issuer:
                    # Another issuer's keys would be those of whoever serves this document.
                    self._why_not = (
                        f"names another issuer in its metadata, {str(found.get('issuer'))[:200]!a}"
                    )
                    continue
                self._why_not = UNREADABLE
                uri = found.get("jwks_uri")
                if not isinstance(uri, str) or not _is_encrypted_or_here(uri):
                    return False
                keys: Any = (await self._reply("GET", uri)).get("keys")
            except _Unreachable as error:
                if self._why_not == AWAY and str(error) != AWAY:
                    self._why_not = UNREADABLE
                continue
            if isinstance(keys, list):
                self._keys = [cast("Json", key) for key in cast("list[Any]", keys) if isinstance(key, dict)]
                self._endpoints = found
                return True
        return False

    async def _reply(self, method: str, url: str, **options: Any) -> Json:
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        body = b""
        try:
            with anyio.fail_after(FETCH_SECONDS):
                async with self._http.stream(method, url, headers=headers, **options) as response:
                    if response.status_code == 401 and "auth" in options:
                        raise _Unreachable(REFUSED)
                    if response.status_code != 200:
                        raise _Unreachable(f"answers {response.status_code}")
                    async for chunk in response.aiter_raw():
                        body += chunk
                        if len(body) > MOST_REPLY_BYTES:
                            break
            found: Any = json.loads(body)
        except (TimeoutError, httpx.TransportError):
            raise _Unreachable(AWAY) from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise _Unreachable("gives no answer that can be read")
        return cast("Json", found)


class _Remembered:
    """Answers of the authorization server, each for some seconds; the oldest makes room."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._kept: OrderedDict[bytes, tuple[float, Json]] = OrderedDict()

    def get(self, digest: bytes) -> Json | None:
        until, reply = self._kept.get(digest, (-math.inf, None))
        return reply if self._clock() < until else None

    def put(self, digest: bytes, reply: Json) -> None:
        self._kept.pop(digest, None)
        self._kept[digest] = (self._clock() + self._seconds, reply)
        while len(self._kept) > MOST_REMEMBERED:
            self._kept.popitem(last=False)


def _check(settings: Settings) -> None:
    issuer, audience = "REFLEXIO_MCP_OAUTH_ISSUER", "REFLEXIO_MCP_OAUTH_AUDIENCE"
    if not settings.oauth_audience:
        raise ConfigurationError(
            f"{issuer} needs {audience}: the address at which clients reach this server, as in https://memory.example/mcp."
        )
    for name, url in ((issuer, settings.oauth_issuer), (audience, settings.oauth_audience)):
        if not _is_encrypted_or_here(url):
            raise ConfigurationError(f"{name} must be an https URL; http is accepted for this machine alone.")
    if bool(settings.oauth_client_id) != bool(settings.oauth_client_secret):
        raise ConfigurationError(
            "REFLEXIO_MCP_OAUTH_CLIENT_ID and REFLEXIO_MCP_OAUTH_CLIENT_SECRET belong together; set both or none."
        )
    for other, given in (
        ("--unsafe-no-auth / REFLEXIO_MCP_UNSAFE_NO_AUTH", settings.unsafe_no_auth),
        ("--user-id / REFLEXIO_USER_ID", bool(settings.user_id)),
    ):
        if given:
            raise ConfigurationError(
                f"{other} and {issuer} contradict each other: who signs in decides whose memory it is. Unset one."
            )


def _is_encrypted_or_here(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    except ValueError:
        return False


def _fitting(keys: list[Json], algorithm: str, kid: Any) -> Json | None:
    """The key that a token's header names. Without a name, the only one that can be meant."""
    kind = {"R": "RSA", "P": "RSA", "E": "EC"}[algorithm[0]] if algorithm != "EdDSA" else "OKP"
    fit = [
        key
        for key in keys
        if key.get("kty") == kind
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and (kid is None or key.get("kid") == kid)
    ]
    return fit[0] if len(fit) == 1 else None


def _moment(claims: Json, name: str, missing: float) -> float:
    """A time among the claims, in epoch seconds; `missing` where it is not there or null."""
    value = claims.get(name)
    if value is None:
        return missing
    try:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError
        return float(value)
    except (ValueError, OverflowError):  # a whole number may be larger than any float
        raise _Invalid("The token is not valid.") from None


def _checked(claims: Json) -> Json:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise _Invalid("The token names nobody.")
    if claims.get("token_use", "access") != "access":
        raise _Invalid("The token is not an access token.")
    if claims.get("cnf"):
        # It is bound to a key that its owner has to show. Taken as a plain bearer token, a thief could use it.
        raise _Invalid("The token is bound to a key of its owner; this server takes plain bearer tokens.")
    return claims


def _in_order(permissions: Set[Permission]) -> list[str]:
    """The scopes of permissions."""
    return [f"{PREFIX}{permission}" for permission in Permission if permission in permissions]


def _scopes_of(claims: Json) -> frozenset[str]:
    found: Any = claims.get("scope", claims.get("scp"))
    if isinstance(found, str):
        return frozenset(found.split())
    if isinstance(found, list):
        return frozenset(one for one in cast("list[Any]", found) if isinstance(one, str))
    return frozenset()
