"""What answers there: is it the API, does it take us and our key, who are we to it, does its clock agree."""

import re
import time
from typing import Final

from reflexio_mcp.doctor.case import Case
from reflexio_mcp.doctor.report import Finding, failure, note, ok, skipped, warning
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import (
    BadAddress,
    ConnectionLost,
    NotAuthorized,
    NotTheApi,
    OperationFailed,
    RateLimited,
    ReflexioError,
    ServerFault,
    TimedOut,
    Unreachable,
    explain,
)
from reflexio_mcp.rest.limits import PUBLISHES_PER_MINUTE
from reflexio_mcp.rest.models import RequestQuery

__all__ = ["check_api", "check_clock", "check_identity", "check_rate", "check_version", "problem"]

KNOWN_VERSION: Final = (0, 2, 32)
"""The server that this version was measured against."""

SKEW_SECONDS: Final = 60
"""A difference that ages such as `7d` begin to show; ten times as much selects wrong requests."""


def _client(case: Case) -> ReflexioClient:
    settings = case.settings
    return ReflexioClient(settings.base_url, api_key=settings.api_key or None, timeout=case.seconds)


def problem(case: Case, error: ReflexioError) -> Finding:
    """An error of a call as a finding with a name of its own."""
    what = explain(error, "read")
    url = case.settings.base_url or "the embedded store"
    if isinstance(error, NotAuthorized):
        return _refused(case, error)
    if isinstance(error, NotTheApi):
        redirected = error.status is not None and 300 <= error.status < 400
        return failure(
            "redirected" if redirected else "not-the-api",
            what,
            "A web site answers there, not the API."
            if redirected
            else "Something else answers at that address.",
            case.advice(
                "Set REFLEXIO_URL to the API's own address: scheme, host and port, without a page's path."
            ),
        )
    for kind, name, why, do in (
        (BadAddress, "address-invalid", "No call can be sent to it.", "Correct REFLEXIO_URL."),
        (
            Unreachable,
            "unreachable",
            "No connection was made.",
            case.advice("Start the server, or correct REFLEXIO_URL."),
        ),
        (TimedOut, "no-answer-in-time", "It is overloaded, or hangs.", "Look at the server, then try again."),
        (
            ConnectionLost,
            "connection-broken",
            "Something on the way, or the server itself, cut it.",
            "Check proxies and the port: plain http to a TLS port looks like this.",
        ),
        (
            RateLimited,
            "rate-limited",
            "Too many calls came from here in the last minute.",
            "Wait a minute and run this again.",
        ),
        (
            OperationFailed,
            "storage-failed",
            "The server runs, its storage does not.",
            "Look at the server's log.",
        ),
        (ServerFault, "server-fault", "The server failed inside.", "Look at the server's log."),
    ):
        if isinstance(error, kind):
            return failure(name, what, why, do)
    return failure(
        "call-refused", what, f"{url} refused a plain call.", "Check that the server's version fits."
    )


def _refused(case: Case, error: NotAuthorized) -> Finding:
    if "User-Agent" in error.detail:
        return failure(
            "user-agent-refused",
            "the server refuses our User-Agent",
            "It turns away what looks like a crawler; a proxy on the way may have replaced ours.",
            "Let the proxy pass the User-Agent on, or go around it with NO_PROXY.",
        )
    if case.settings.api_key:
        return failure(
            "key-refused",
            f"the server refuses the key ({error.status})",
            "It is not a key of this server, or was withdrawn.",
            "Set REFLEXIO_API_KEY to a key that was made there.",
        )
    return failure(
        "key-missing",
        f"the server wants a key ({error.status})",
        "REFLEXIO_API_KEY is not set.",
        "Set REFLEXIO_API_KEY to a key that was made there.",
    )


async def check_api(case: Case) -> list[Finding]:
    """Is it the API at all: its health route answers as it should."""
    if case.settings.embedded:
        return [skipped("the embedded store is in this process")]
    try:
        async with _client(case) as client:
            await client.health()
    except ReflexioError as error:
        return [problem(case, error)]
    return [ok(f"{case.settings.base_url} is a Reflexio API")]


async def check_identity(case: Case) -> list[Finding]:
    """Does it take our User-Agent and our key, and whose data do they reach."""
    if case.settings.embedded:
        who = case.settings.user_id
        return [ok(f"this server belongs to the user {who}" if who else "every user of the store is visible")]
    try:
        async with _client(case) as client:
            me = await client.whoami()
    except ReflexioError as error:
        return [problem(case, error)]
    who = f", as the user {case.settings.user_id}" if case.settings.user_id else ", every user"
    found = [ok(f"accepted as {me.org_id or 'the only organisation'}{who}")]
    if not me.storage_configured:
        found.append(
            failure(
                "storage-not-configured",
                "the server has no storage yet",
                "What is published would go nowhere.",
                "Finish the set-up of the Reflexio server.",
            )
        )
    return found


async def check_version(case: Case) -> list[Finding]:
    """Which version is it, and do we know it."""
    if case.settings.embedded:
        return [skipped("the embedded store has this package's version")]
    try:
        async with _client(case) as client:
            said = (await client.version()).server_version
    except NotTheApi:
        return [note("the server does not tell its version", "version-unknown")]
    except ReflexioError as error:
        return [problem(case, error)]
    found = re.match(r"(\d+)\.(\d+)\.(\d+)(.*)", said)
    # A server that is not installed from a release says 0.0.0-dev, and so does the released one.
    if not found or "dev" in found.group(4) or said.startswith("0.0.0"):
        return [
            note(f"the server says {_short(said)} for its version, which is no release", "version-unknown")
        ]
    version = tuple(int(part) for part in found.groups()[:3])
    known = ".".join(map(str, KNOWN_VERSION))
    if version < KNOWN_VERSION:
        return [
            warning(
                "server-older",
                f"the server has version {said}, this was made for {known}",
                "Calls that it does not know will fail.",
                "Upgrade the Reflexio server.",
            )
        ]
    if version[:2] > KNOWN_VERSION[:2]:
        return [note(f"the server has version {said}, newer than {known}, which this was measured against")]
    return [ok(f"the server has version {said}")]


def _short(said: str) -> str:
    """What a server says, fit for one line."""
    return repr(said[:40]) if said.isprintable() and said else "nothing"


async def check_clock(case: Case) -> list[Finding]:
    """Does the server's clock agree with this machine's."""
    if case.settings.embedded:
        return [skipped("there is one clock")]
    try:
        async with _client(case) as client:
            page = await client.get_requests(_own(case, top_k=1))
    except ReflexioError as error:
        return [problem(case, error)]
    if page.server_time is None:
        return [note("the server does not tell its time", "clock-unknown")]
    skew = round(time.time() - page.server_time)
    if abs(skew) < SKEW_SECONDS:
        return [ok("the clocks agree")]
    ahead = "ahead of" if skew > 0 else "behind"
    tell = failure if abs(skew) >= 10 * SKEW_SECONDS else warning
    return [
        tell(
            "clock-skew",
            f"this machine's clock is {abs(skew)} s {ahead} the server's",
            "Filters such as the last hour select by this clock what was stored by that one.",
            "Let both machines set their clocks from the network.",
        )
    ]


async def check_rate(case: Case) -> list[Finding]:
    """How much of the publishing limit the last minute has used."""
    if case.settings.embedded:
        return [skipped("the embedded store has no limit")]
    try:
        async with _client(case) as client:
            page = await client.get_requests(_own(case, top_k=100, start_time=int(time.time()) - 60))
    except ReflexioError as error:
        return [problem(case, error)]
    used = sum(len(session.requests) for session in page.sessions)
    if used >= PUBLISHES_PER_MINUTE * 5 // 6:
        return [
            warning(
                "rate-nearly-used",
                f"{used} requests were stored in the last minute",
                f"A client may publish {PUBLISHES_PER_MINUTE} a minute; more is refused for a while.",
                "Publish less often, or put several turns into one request.",
            )
        ]
    return [ok(f"{used} of {PUBLISHES_PER_MINUTE} publishes used in the last minute, at most")]


def _own(case: Case, *, top_k: int, start_time: int | None = None) -> RequestQuery:
    return RequestQuery(user_id=case.settings.user_id or None, top_k=top_k, start_time=start_time)
