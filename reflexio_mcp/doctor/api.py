"""Checks of what answers at the address: the API, the key, whose data it reaches, the clock, and writing."""

import re
import secrets
import time
import uuid
from typing import Final

from reflexio_mcp.backend import open_client
from reflexio_mcp.doctor.environment import Environment
from reflexio_mcp.doctor.report import Finding, failure, note, ok, skipped, warning
from reflexio_mcp.rest import errors
from reflexio_mcp.rest.api_limits import PUBLISHES_PER_MINUTE
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import Interaction, PublishBody, RequestQuery

__all__ = [
    "check_api",
    "check_clock",
    "check_identity",
    "check_rate",
    "check_version",
    "check_writing",
    "problem",
]

KNOWN_VERSION: Final = (0, 2, 32)
"""The server that this version was measured against."""

SKEW_SECONDS: Final = 60
"""A difference worth a warning; with ten times as much, an age such as `7d` selects wrong requests."""

_NAMES: Final[dict[type[errors.ReflexioError], str]] = {
    errors.NotTheApi: "not-the-api",
    errors.BadAddress: "address-invalid",
    errors.Unreachable: "unreachable",
    errors.TimedOut: "no-answer-in-time",
    errors.ConnectionLost: "connection-broken",
    errors.RateLimited: "rate-limited",
    errors.OperationFailed: "storage-failed",
    errors.ServerFault: "server-fault",
    errors.ReflexioError: "call-refused",
}


def _client(environment: Environment) -> ReflexioClient:
    settings = environment.settings
    return ReflexioClient(settings.base_url, api_key=settings.api_key or None, timeout=environment.seconds)


def problem(environment: Environment, error: errors.ReflexioError) -> Finding:
    """A failed call as a finding."""
    if isinstance(error, errors.NotAuthorized):
        if "User-Agent" in error.detail:
            return failure("user-agent-refused", "the server refuses this client's User-Agent")
        if environment.settings.api_key:
            return failure("key-refused", f"the server refuses the key ({error.status})")
        return failure("key-missing", f"the server asks for a key ({error.status})")
    if isinstance(error, errors.NotTheApi) and error.status is not None and 300 <= error.status < 400:
        return failure("redirected", errors.explain(error, "read"))
    name = next(name for kind, name in _NAMES.items() if isinstance(error, kind))
    do = environment.address_advice() if name == "unreachable" else ""
    return failure(name, errors.explain(error, "read"), do=do)


async def check_api(environment: Environment) -> list[Finding]:
    """Whether it is the API: its health route answers as expected."""
    async with _client(environment) as client:
        await client.health()
    return [ok(f"{environment.settings.base_url} is a Reflexio API")]


async def check_identity(environment: Environment) -> list[Finding]:
    """Whether it accepts the User-Agent and the key, and whose data they reach."""
    async with _client(environment) as client:
        me = await client.whoami()
    found = [ok(f"accepted as {me.org_id or 'the only organisation'}")]
    if not me.storage_configured:
        found.append(failure("storage-not-configured", "the server has no storage yet"))
    return found


async def check_version(environment: Environment) -> list[Finding]:
    """Which version it has, and whether that was tested."""
    try:
        async with _client(environment) as client:
            said = (await client.version()).server_version
    except errors.NotTheApi:
        return [note("the server does not tell its version", "version-unknown")]
    found = re.match(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})(.*)", said)
    # A server that is not installed from a release says 0.0.0-dev, and so does the released one.
    if not found or "dev" in found.group(4) or said.startswith("0.0.0"):
        shown = repr(said[:40]) if said.isprintable() and said else "nothing"
        return [note(f"the server gives {shown} as its version, which is no release", "version-unknown")]
    version = tuple(int(part) for part in found.groups()[:3])
    known = ".".join(map(str, KNOWN_VERSION))
    if version < KNOWN_VERSION:
        older = f"the server has version {said}, older than {known}, the oldest tested"
        return [warning("server-older", older)]
    if version[:2] > KNOWN_VERSION[:2]:
        return [note(f"the server has version {said}, newer than {known}, the newest tested")]
    return [ok(f"the server has version {said}")]


async def check_clock(environment: Environment) -> list[Finding]:
    """Whether the server's clock agrees with this machine's."""
    async with _client(environment) as client:
        page = await client.get_requests(_own(environment, top_k=1))
    if page.server_time is None:
        return [note("the server does not tell its time", "clock-unknown")]
    skew = round(time.time() - page.server_time)
    if abs(skew) < SKEW_SECONDS:
        return [ok("the clocks agree")]
    ahead = "ahead of" if skew > 0 else "behind"
    tell = failure if abs(skew) >= 10 * SKEW_SECONDS else warning
    return [tell("clock-skew", f"this machine's clock is {abs(skew)} s {ahead} the server's")]


async def check_rate(environment: Environment) -> list[Finding]:
    """How much of the publishing limit the last minute has used."""
    async with _client(environment) as client:
        page = await client.get_requests(_own(environment, top_k=100, start_time=int(time.time()) - 60))
    used = sum(len(session.requests) for session in page.sessions)
    if used >= PUBLISHES_PER_MINUTE * 5 // 6:
        said = f"{used} requests were stored in the last minute; a client may publish {PUBLISHES_PER_MINUTE}"
        return [warning("rate-nearly-used", said)]
    return [ok(f"at most {used} of {PUBLISHES_PER_MINUTE} publishes were used in the last minute")]


def _own(environment: Environment, *, top_k: int, start_time: int | None = None) -> RequestQuery:
    return RequestQuery(user_id=environment.settings.user_id or None, top_k=top_k, start_time=start_time)


async def check_writing(environment: Environment) -> list[Finding]:
    """Publish one request that teaches nothing, find it, delete it, and see that it is gone."""
    if not environment.write:
        return [skipped("not asked for (--write)")]
    body = PublishBody(
        user_id=environment.settings.user_id or "reflexio-mcp-doctor",
        session_id=f"reflexio-mcp-doctor-{secrets.token_hex(6)}",
        request_id=str(uuid.uuid4()),
        interaction_data_list=[Interaction(content="Written by reflexio-mcp doctor and deleted at once.")],
        source="reflexio-mcp-doctor",
        evaluation_only=True,
    )
    left_behind = failure(
        "write-not-deleted",
        f"the request {body.request_id} in the session {body.session_id} may still be there",
    )
    async with open_client(environment.settings) as client:
        try:
            await client.publish(body, minted=True)
        except errors.ReflexioError as error:
            return [problem(environment, error)]
        try:
            listed = await _is_there(client, body)
            await client.delete_request(body.request_id)
            left = await _is_there(client, body)
        except errors.ReflexioError as error:
            return [problem(environment, error), left_behind]
    if not listed:
        return [failure("write-not-listed", "what was just stored is not listed")]
    return [left_behind] if left else [ok("published, listed, deleted, and gone")]


async def _is_there(client: ReflexioClient, body: PublishBody) -> bool:
    page = await client.get_requests(RequestQuery(user_id=body.user_id, request_id=body.request_id))
    return any(session.requests for session in page.sessions)
