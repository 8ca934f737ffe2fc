"""Sign-in: an OAuth 2.1 resource server for the tokens of one authorization server.

This server issues no tokens. The rules: MCP authorization (2025-11-25), RFC 6750, 7519, 7662, 8414, 8725, 9068
and 9728.
"""

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Annotated, Any, Final, Literal, TypeGuard, TypeVar, cast
from urllib.parse import quote_plus, urlsplit

import anyio
import httpx
import jwt
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from pydantic import AnyHttpUrl, BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError
from starlette.routing import Route

from reflexio_mcp.http.access import is_loopback, peer
from reflexio_mcp.http.refusal import Refusal
from reflexio_mcp.rest.errors import BadAddress
from reflexio_mcp.rest.transport import new_client
from reflexio_mcp.server.callers import Caller, Quota, person
from reflexio_mcp.settings import ConfigurationError, Settings
from reflexio_mcp.tools.catalog import Permission

__all__ = ["SignIn"]

PREFIX: Final = "memory:"
OPERATOR: Final = f"{PREFIX}operator"
TOKEN_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})

FRESH_SECONDS: Final = 300.0
STALE_SECONDS: Final = 3600.0
"""Keys are refreshed after `FRESH_SECONDS`; if that fails, they are used until `STALE_SECONDS`."""

ASK_AGAIN_SECONDS: Final = 10.0
"""Minimum time between fetches, whatever key ids callers invent."""

FETCH_SECONDS: Final = 8.0
REMEMBER_SECONDS: Final = 10.0
"""How long an introspection is used."""

MOST_REMEMBERED: Final = 10_000
MOST_ASKING: Final = 64
PEER_SHARE: Final = 8
"""Limits of simultaneous introspections, in all and per address: invented tokens lock out nobody else. A token that was
accepted before is asked about again without waiting for unknown ones."""

MOST_WAITING: Final = 64
MOST_WAITING_IN_ALL: Final = 1024
"""Limits of calls that wait for an introspection that another call began. `MOST_WAITING` is for one accepted token, or
for all unknown tokens of one address."""

MOST_DOCUMENT_BYTES: Final = 1024 * 1024
"""Limit of a document of the authorization server."""

MOST_USER_ID_CHARS: Final = 1000
LEEWAY_SECONDS: Final = 30

AWAY: Final = "cannot be reached"
NOT_ACCEPTED: Final = (
    "The token is not accepted: it has expired, was revoked, is for another server or by another service, or cannot be "
    "read."
)

Json = Mapping[str, Any]
T = TypeVar("T")


class _CannotCheck(Exception):
    """A token cannot be checked. The text follows the authorization server's name."""


class _Invalid(Exception):
    pass


class _Introspection:
    """An introspection that is in flight.

    `outcome` is what all calls with the token get. It stays `None` if the call that asked was cancelled.
    """

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.outcome: Json | _CannotCheck | None = None


class _Limits:
    """Limits of introspections.

    Args:
        each: maximum number of simultaneous introspections for one holder: an accepted token, or an address.
    """

    def __init__(self, each: int) -> None:
        self.asking = Quota(each, MOST_ASKING)
        self.waiting = Quota(MOST_WAITING, MOST_WAITING_IN_ALL)


class _Claims(BaseModel):
    model_config = ConfigDict(strict=True)

    iss: str
    aud: Annotated[list[str], BeforeValidator(lambda aud: [aud] if isinstance(aud, str) else aud)]
    sub: Annotated[str, Field(min_length=1)]
    exp: FiniteFloat = math.inf
    nbf: FiniteFloat = -math.inf
    token_use: Literal["access"] = "access"  # noqa: S105
    token_type: Annotated[str, Field(pattern="(?i)^(bearer|access_token)$")] = "bearer"  # noqa: S105
    cnf: None = None  # without the check, a key-bound token would lose its protection
    scope: str = ""
    scp: str | list[str] = ""

    @property
    def scopes(self) -> frozenset[str]:
        listed = self.scope or self.scp
        # Scopes are separated by spaces alone (RFC 6749, 3.3).
        return frozenset(listed.split(" ") if isinstance(listed, str) else listed)


class SignIn:
    """Identifies the person of a token, and their permissions.

    Args:
        tools: the permission that each offered tool needs.
        clock: monotonic seconds.

    Raises:
        ConfigurationError: settings contradict each other.
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
        # Some clients request a token with a slash after the URL.
        self._audiences = {settings.oauth_audience, f"{settings.oauth_audience}/"}
        self.metadata_url = build_resource_metadata_url(AnyHttpUrl(settings.oauth_audience))
        try:
            # Plain http is for this machine only, so no proxy may see it.
            self._http = new_client(timeout=FETCH_SECONDS, mounts={"http://": None})
        except BadAddress as error:
            raise ConfigurationError(f"{error}.") from None
        self._clock = clock
        self._fetching = anyio.Lock()
        self._keys_tried_at = -math.inf
        self._keys_found_at = -math.inf
        self._why_no_keys = AWAY
        self._metadata: Json = {}
        self._keys: list[jwt.PyJWK] = []
        self._limits_of_unknown = _Limits(PEER_SHARE)
        self._limits_of_accepted = _Limits(1)
        self._in_flight: dict[bytes, _Introspection] = {}
        self._accepted: dict[bytes, tuple[float, Json]] = {}
        self._refused: dict[bytes, float] = {}

    @property
    def host(self) -> str:
        """This server's host as a Host header names it: with the brackets of IPv6, without the port."""
        parts = urlsplit(self._settings.oauth_audience)
        return parts.netloc.removesuffix(f":{parts.port}")

    def metadata_routes(self) -> list[Route]:
        """The routes of RFC 9728, without the operators' scope: some clients request every scope."""
        # An `AnyHttpUrl` would change the addresses.
        return create_protected_resource_routes(
            cast("Any", self._settings.oauth_audience),
            cast("Any", [self._issuer]),
            scopes_supported=_scopes_for(set(self._tools.values())),
            resource_name="Reflexio memory",
        )

    def check_tool(self, tool: str, caller: Caller) -> None:
        """Raise a `Refusal` if a scope is missing, so that the client requests it."""
        needed = self._tools.get(tool)
        if needed and caller.permissions is not None and needed not in caller.permissions:
            raise self._needs(caller, needed)

    async def caller(self, token: str) -> Caller:
        """Return the person of a token.

        Raises:
            Refusal: the token is not accepted (401), grants nothing here (403), or cannot be checked now (503).
        """
        try:
            return self._person(await self._claims(token))
        except _Invalid as error:
            raise Refusal(
                401,
                f"{str(error) or NOT_ACCEPTED} Sign in again.",
                self._challenge("invalid_token"),
                error="invalid_token",
            ) from None
        except _CannotCheck as error:
            text = (
                f"The sign-in service {error}, so the token cannot be checked; try again in a moment, and tell the "
                "operator of this server if this continues."
            )
            raise Refusal(503, text, {"retry-after": "10"}, error="temporarily_unavailable") from None

    async def still_accepts(self, token: str) -> bool:
        """Whether the token of an open stream was not revoked. A token that cannot be checked counts as not revoked."""
        try:
            await self.caller(token)
        except Refusal as refused:
            return refused.status_code not in (401, 403)
        return True

    async def trouble(self) -> str:
        """Return why tokens cannot be checked, as words after the authorization server's name; empty if they can."""
        try:
            keys = await self._known_keys()
            if self._settings.oauth_client_id:
                await self._asked("whether-this-client-may-ask", self._limits_of_unknown, peer.get())
        except _CannotCheck as error:
            return str(error)
        return "" if keys or self._settings.oauth_client_id else "has no keys"

    async def aclose(self) -> None:
        await self._http.aclose()

    def _challenge(self, error: str, scopes: Sequence[str] = ()) -> dict[str, str]:
        parts = [f'error="{error}"', f'resource_metadata="{self.metadata_url}"']
        if scopes:
            parts.append(f'scope="{" ".join(scopes)}"')
        return {"www-authenticate": f"Bearer {', '.join(parts)}"}

    def _needs(self, caller: Caller, missing: Permission) -> Refusal:
        # The client then requests a token with only these scopes, so they include those that it has.
        scopes = _scopes_for({*(caller.permissions or ()), missing})
        if not caller.user_id:
            scopes.append(OPERATOR)
        return Refusal(
            403,
            f"This needs the scope {PREFIX}{missing}; nothing was done. Sign in again and grant it.",
            self._challenge("insufficient_scope", scopes),
            error="insufficient_scope",
        )

    def _person(self, token_claims: Json) -> Caller:
        try:
            # Some authorization servers send null for an absent claim. `token_use` stays: null there is refused.
            claims = _Claims.model_validate(
                {
                    name: claim
                    for name, claim in token_claims.items()
                    if claim is not None or name == "token_use"
                }
            )
        except ValidationError as error:
            names = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors()}))
            raise _Invalid(f"The token is not accepted because of its {names}.") from None
        in_time = claims.nbf - LEEWAY_SECONDS <= time.time() < claims.exp + LEEWAY_SECONDS
        for_us = claims.iss == self._issuer and not self._audiences.isdisjoint(claims.aud)
        if not in_time or not for_us:
            raise _Invalid
        name = self._settings.oauth_user_claim
        user = token_claims.get(name)
        if not _is_user_id(user):
            raise _Invalid(f"The token names no user in its claim {name}.")
        # An unverified address may belong to somebody else.
        verified = token_claims.get("email_verified")
        if name == "email" and not (verified is None or verified is True or verified == "true"):
            raise _Invalid("The token names an e-mail address that is not verified.")
        scopes = claims.scopes
        permissions = frozenset(permission for permission in Permission if f"{PREFIX}{permission}" in scopes)
        user_id = "" if OPERATOR in scopes else user
        caller = person(
            self._settings,
            subject=claims.sub,
            user_id=user_id,
            permissions=permissions,
            expires_at=claims.exp,
            known_as=user,
        )
        if not permissions:
            offered = (permission for permission in Permission if permission in self._tools.values())
            raise self._needs(caller, next(offered, Permission.READ))
        return caller

    async def _claims(self, token: str) -> Json:
        # A token of another form can have two dots, too.
        header = _header_of(token) if token.count(".") == 2 else None
        if header is not None:
            return await self._signed(token, header)
        if not self._settings.oauth_client_id:
            raise _Invalid
        return await self._introspected(token)

    async def _signed(self, token: str, header: Json) -> Json:
        if str(header.get("typ", "JWT")).lower() not in TOKEN_TYPES or "crit" in header:
            raise _Invalid
        key = _fitting(await self._known_keys(), header) or _fitting(
            await self._known_keys(again=True), header
        )
        if key is None:
            raise _Invalid
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss"], "verify_aud": False},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise _Invalid from None

    async def _introspected(self, token: str) -> Json:
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        if self._clock() < self._refused.get(digest, 0.0):
            raise _Invalid
        until, reply = self._accepted.get(digest, (0.0, {}))
        if self._clock() >= until:
            reply = await self._asked_once(token, digest)
            if reply.get("active") is not True:
                raise _Invalid
        return {"iss": self._issuer, **reply}

    async def _asked_once(self, token: str, digest: bytes) -> Json:
        """Ask about a token, or wait for the answer if another call is asking about it."""
        # Somebody who was accepted does not wait behind invented tokens from the same address.
        was_accepted = digest in self._accepted
        limits = self._limits_of_accepted if was_accepted else self._limits_of_unknown
        holder = digest.hex() if was_accepted else peer.get()
        while other := self._in_flight.get(digest):
            with limits.waiting.hold(holder) as taken:
                if not taken:
                    raise _CannotCheck("has not answered yet, and too many calls wait for it")
                await other.ended.wait()
            if isinstance(other.outcome, _CannotCheck):
                raise _CannotCheck(str(other.outcome))
            if other.outcome is not None:
                return other.outcome
        asked = self._in_flight[digest] = _Introspection()
        try:
            asked.outcome = reply = await self._asked(token, limits, holder)
            self._remember_reply(digest, reply)
            return reply
        except _CannotCheck as error:
            asked.outcome = error
            raise
        finally:
            del self._in_flight[digest]
            asked.ended.set()

    def _remember_reply(self, digest: bytes, reply: Json) -> None:
        until = self._clock() + REMEMBER_SECONDS
        self._accepted.pop(digest, None)
        if reply.get("active") is True:
            _remember(self._accepted, digest, (until, reply))
        else:
            _remember(self._refused, digest, until)

    async def _asked(self, token: str, limits: _Limits, holder: str) -> Json:
        await self._known_keys()  # finds the metadata, too
        endpoint = _address_in(self._metadata, "introspection_endpoint")
        # RFC 6749, 2.3.1 encodes both as in a form.
        credentials = (
            quote_plus(self._settings.oauth_client_id),
            quote_plus(self._settings.oauth_client_secret),
        )
        with limits.asking.hold(holder) as taken:
            if not taken:
                raise _CannotCheck("is being asked about too many tokens")
            return await self._reply("POST", endpoint, data={"token": token}, auth=credentials)

    async def _known_keys(self, *, again: bool = False) -> list[jwt.PyJWK]:
        age = self._clock() - self._keys_found_at
        others_fetch = self._fetching.locked()
        if not again and (age < FRESH_SECONDS or (others_fetch and age < STALE_SECONDS)):
            return self._keys
        async with self._fetching:  # all callers share one fetch
            if self._clock() - self._keys_tried_at >= ASK_AGAIN_SECONDS:
                try:
                    with anyio.fail_after(FETCH_SECONDS):
                        await self._discover()
                    self._keys_found_at = self._clock()
                except (TimeoutError, _CannotCheck) as error:
                    self._why_no_keys = str(error) or AWAY
                self._keys_tried_at = self._clock()
        if self._clock() - self._keys_found_at >= STALE_SECONDS:
            raise _CannotCheck(self._why_no_keys)
        return self._keys

    async def _discover(self) -> None:
        parts = urlsplit(self._issuer)
        origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
        failure = _CannotCheck(AWAY)
        for place in (
            f"{origin}/.well-known/oauth-authorization-server{path}",
            f"{origin}/.well-known/openid-configuration{path}",
            f"{origin}{path}/.well-known/openid-configuration",
        ):
            try:
                found = await self._reply("GET", place)
                if found.get("issuer") != self._issuer:
                    raise _CannotCheck("names another issuer in its metadata")
                self._keys = _usable(await self._reply("GET", _address_in(found, "jwks_uri")))
                self._metadata = found
                return
            except _CannotCheck as error:
                failure = error
        raise failure

    async def _reply(self, method: str, url: str, **options: Any) -> Json:
        headers = {"accept": "application/json"}
        try:
            with anyio.fail_after(FETCH_SECONDS):
                response = await self._http.request(method, url, headers=headers, **options)
            if len(response.content) > MOST_DOCUMENT_BYTES:
                raise _CannotCheck(f"gives an answer that is too long at {url}")
            found: Any = response.json() if response.status_code == 200 else None
        except (TimeoutError, httpx.TransportError):
            raise _CannotCheck(AWAY) from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError):
            raise _CannotCheck(f"gives an unreadable answer at {url}") from None
        if not isinstance(found, dict):
            raise _CannotCheck(f"answers {response.status_code} at {url}, without the expected JSON object")
        return cast("Json", found)


def _remember(among: dict[bytes, T], digest: bytes, value: T) -> None:
    """Remember a value, and forget the oldest one if there are too many."""
    if len(among) >= MOST_REMEMBERED:
        del among[next(iter(among))]
    among[digest] = value


def _check(settings: Settings) -> None:
    issuer, audience = "REFLEXIO_MCP_OAUTH_ISSUER", "REFLEXIO_MCP_OAUTH_AUDIENCE"
    if not settings.oauth_audience:
        raise ConfigurationError(
            f"{issuer} needs {audience}: the address at which clients reach this server, as in https://memory.example/mcp."
        )
    if not all(map(_is_encrypted_or_here, (settings.oauth_issuer, settings.oauth_audience))):
        raise ConfigurationError(
            f"{issuer} and {audience} must be https URLs; http is accepted for this machine alone."
        )
    if bool(settings.oauth_client_id) != bool(settings.oauth_client_secret):
        raise ConfigurationError(
            "REFLEXIO_MCP_OAUTH_CLIENT_ID and REFLEXIO_MCP_OAUTH_CLIENT_SECRET belong together; set both or none."
        )
    if settings.unsafe_no_auth or settings.user_id:
        raise ConfigurationError(
            f"{issuer} contradicts --unsafe-no-auth / REFLEXIO_MCP_UNSAFE_NO_AUTH and --user-id / REFLEXIO_USER_ID: "
            f"the person who signs in decides whose memory is used. Unset {issuer}, or the settings it contradicts."
        )


def _is_encrypted_or_here(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    except ValueError:
        return False


def _is_user_id(claim: object) -> TypeGuard[str]:
    # Blanks around it are refused: to remove them would merge two persons.
    return (
        isinstance(claim, str)
        and claim.isprintable()
        and claim == claim.strip()
        and 0 < len(claim) <= MOST_USER_ID_CHARS
    )


def _address_in(metadata: Json, name: str) -> str:
    if not isinstance(url := metadata.get(name), str) or not _is_encrypted_or_here(url):
        raise _CannotCheck(f"names no {name} that can be used")
    return url


def _header_of(token: str) -> Json | None:
    """Return the header of a JWT, unverified; `None` for another token."""
    try:
        return jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None


def _usable(found: Json) -> list[jwt.PyJWK]:
    """Return public keys only. With a shared secret, a checker could make tokens."""
    try:
        keys = jwt.PyJWKSet.from_dict(dict(found)).keys
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, NotImplementedError):
        return []
    return [key for key in keys if key.key_type != "oct" and key.public_key_use in (None, "sig")]


def _fitting(keys: list[jwt.PyJWK], header: Json) -> jwt.PyJWK | None:
    """Return the key for a header. The key decides the algorithm, not the token."""
    alg, kid = header.get("alg"), header.get("kid")
    fit = [key for key in keys if key.algorithm_name == alg and kid in (None, key.key_id)]
    return fit[0] if len(fit) == 1 else None


def _scopes_for(permissions: Set[Permission]) -> list[str]:
    return [f"{PREFIX}{permission}" for permission in Permission if permission in permissions]
