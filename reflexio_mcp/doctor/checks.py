"""The checks of one set-up: the settings of this shell or of a client's entry, and the backend that they name."""

import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio.to_thread

from reflexio_mcp.backend import default_store, open_client, open_state, place_of
from reflexio_mcp.doctor.findings import Finding, failed_call, note, ok, problem
from reflexio_mcp.install.entry import visible
from reflexio_mcp.rest.address import check_api_key
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import BadAddress, ReflexioError, explain
from reflexio_mcp.rest.models import RequestQuery
from reflexio_mcp.settings import HOSTED_URL, ConfigurationError, Settings, load
from reflexio_mcp.state.tables import StateUnusable, nothing_can_be_deleted

__all__ = ["CHECKS", "Setup", "examine"]

OLDEST_TESTED: Final = (0, 2, 32)
SKEW_SECONDS: Final = 60
CALL_SECONDS = 8.0


@dataclass(slots=True)
class Setup:
    """Settings under examination.

    Args:
        where: this shell, or the entry of a client.
        env: the variables.
        key_unknown: the client has a key that cannot be seen from here.
        settings: set by the first check.
    """

    where: str
    env: Mapping[str, str]
    key_unknown: bool = False
    settings: Settings = field(default_factory=Settings)

    def client(self) -> ReflexioClient:
        """A client of the backend that gives up early."""
        settings = self.settings
        if settings.embedded:
            return open_client(settings)
        return ReflexioClient(settings.base_url, api_key=settings.api_key or None, timeout=CALL_SECONDS)


async def check_settings(setup: Setup) -> Finding:
    from reflexio_mcp.tools.catalog import offered  # the tools that a configuration names are settings too

    try:
        setup.settings = load(setup.env)
        offered(setup.settings)
    except ConfigurationError as error:
        return problem("configuration-invalid", str(error))
    settings = setup.settings
    who = "who signs in sees their own memory" if settings.oauth_issuer else "every user is visible"
    if settings.user_id:
        who = f"confined to the user {visible('REFLEXIO_USER_ID', settings.user_id)}"
    place = settings.base_url or f"the file {visible('REFLEXIO_MCP_STORE', place_of(settings))}"
    return ok(f"uses {place}; {who}{'; read-only' if settings.read_only else ''}")


async def check_key(setup: Setup) -> Finding:
    key, url = setup.settings.api_key, setup.settings.base_url
    if setup.key_unknown:
        return note("only the client knows the key, so what needs it is not checked")
    if not key:
        if url == HOSTED_URL:
            return problem("key-missing", "REFLEXIO_API_KEY is not set, and the hosted service needs it.")
        return note("no key is set; the open-source server needs none")
    try:
        check_api_key(key)
    except BadAddress:
        return problem("key-malformed", "REFLEXIO_API_KEY is not a key.")
    if re.match(r"[\"']|bearer|your.api.key$|changeme$|xxx$", key, re.IGNORECASE):
        return problem("key-malformed", "REFLEXIO_API_KEY is not a key.")
    if re.match(r"http://(?!(localhost|127\.[\d.]+|\[::1\])(:\d+)?(/|$))", url):
        return problem("key-sent-in-clear", "The key goes over plain http to another machine.")
    return ok("a key is set")


async def check_reachable(setup: Setup) -> Finding:
    async with setup.client() as client:
        await client.health()
    return ok(f"{setup.settings.base_url} is a Reflexio API")


async def check_access(setup: Setup) -> Finding:
    async with setup.client() as client:
        me = await client.whoami()
    if not me.storage_configured:
        return problem("storage-not-configured", "The server has no storage yet.")
    return ok(f"accepted as {me.org_id or 'the only organisation'}")


async def check_version(setup: Setup) -> Finding:
    async with setup.client() as client:
        version = (await client.version()).server_version
    found = re.match(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})$", version)
    # A server that is not installed from a release says 0.0.0-dev, and so does the released one.
    if not found or version == "0.0.0":
        return note("the server names no released version")
    if tuple(map(int, found.groups())) < OLDEST_TESTED:
        return problem("server-older", f"The server has version {version}, older than any that was tested.")
    return ok(f"the server has version {version}")


async def check_clock(setup: Setup) -> Finding:
    async with setup.client() as client:
        query = RequestQuery(user_id=setup.settings.user_id or None, top_k=1)
        server_time = (await client.get_requests(query)).server_time
    skew = round(time.time() - (server_time or time.time()))
    if abs(skew) >= SKEW_SECONDS:
        ahead = "ahead of" if skew > 0 else "behind"
        return problem("clock-skew", f"This machine's clock is {abs(skew)} s {ahead} the server's.")
    return ok("the clocks agree")


async def check_store(setup: Setup) -> Finding:
    settings = setup.settings
    if settings.store == ":memory:":
        return note("nothing is kept: the store is in memory")
    path = Path(settings.store) if settings.store else default_store()
    name = visible("REFLEXIO_MCP_STORE", str(path))
    try:
        folder = next(folder for folder in path.parents if folder.exists())
        blocked = not folder.is_dir() or not os.access(path if path.exists() else folder, os.W_OK)
    except OSError:
        blocked = True
    if blocked or (path.exists() and not path.is_file()):
        return problem("store-not-usable", f"{name} cannot be written.")
    if not path.exists():
        return ok(f"the first call creates {name}")
    try:
        async with setup.client() as client:
            await client.whoami()
    except ReflexioError as error:
        return problem("store-not-usable", error.said or explain(error, "read"))
    return ok(f"{name} can be used")


async def check_state(setup: Setup) -> Finding:
    """Try whether a deletion could be recorded."""
    from reflexio_mcp.tools.catalog import deletes

    settings = setup.settings
    try:
        if settings.state or deletes(settings):
            state = open_state(settings)
            try:
                await anyio.to_thread.run_sync(state.check)
            finally:
                state.database.close()
    except ConfigurationError as error:
        return problem("state-not-usable", str(error))
    except StateUnusable as error:
        return problem("state-not-usable", nothing_can_be_deleted(error))
    return ok("the state database answers" if settings.state else "deletions can be recorded")


async def check_sign_in(setup: Setup) -> Finding:
    from reflexio_mcp.http.oauth import SignIn  # only a server with a sign-in needs what it imports

    settings = setup.settings
    try:
        sign_in = SignIn(settings, {})
    except ConfigurationError as error:
        return problem("configuration-invalid", str(error))
    async with aclosing(sign_in):
        why, _ = await sign_in.trouble()
    if why:
        return problem("sign-in-fails", f"{settings.oauth_issuer} {why}")
    return ok(f"people sign in at {settings.oauth_issuer}, with tokens for {settings.oauth_audience}")


def _remote(setup: Setup) -> bool:
    return not setup.settings.embedded


def _with_key(setup: Setup) -> bool:
    return _remote(setup) and not setup.key_unknown


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Args:
        name: what it is called.
        looks_at: what it looks at, for the documentation.
        run: makes it. A call to Reflexio that fails becomes a finding.
        applies: whether it makes sense for a set-up.
        after: checks that must not have failed before it.
    """

    name: str
    looks_at: str
    run: Callable[[Setup], Awaitable[Finding]]
    applies: Callable[[Setup], bool] = _with_key
    after: tuple[str, ...] = ("settings", "key", "reachable", "access")


# fmt: off
CHECKS: Final = (
    Check("settings", "every value, and the names of variables", check_settings, lambda _: True, ()),
    Check("key", "the form of the key, and whether one is needed", check_key, _remote, ("settings",)),
    Check("reachable", "whether the address answers as a Reflexio API", check_reachable, _remote, ("settings", "key")),
    Check("access", "whether the key is accepted, and as whose", check_access, after=("settings", "key", "reachable")),
    Check("version", "the version of the server", check_version),
    Check("clock", "whether the clocks of both machines agree", check_clock),
    Check("store", "the file of the embedded store", check_store,
          lambda setup: setup.settings.embedded, ("settings",)),
    Check("state", "whether deletions can be recorded", check_state, lambda _: True, ("settings", "store")),
    Check("sign-in", "the authorization server, if people sign in", check_sign_in,
          lambda setup: bool(setup.settings.oauth_issuer), ("settings",)),
)
# fmt: on


async def examine(setup: Setup, tell: Callable[[Finding], None]) -> None:
    """Make every check that makes sense for a set-up, and tell what each finds."""
    failed: set[str] = set()
    for check in CHECKS:
        if failed.intersection(check.after) or not check.applies(setup):
            continue
        try:
            found = await check.run(setup)
        except ReflexioError as error:
            found = failed_call(error, has_key=bool(setup.settings.api_key))
        if found.status == "failure":
            failed.add(check.name)
        tell(found._replace(check=check.name, where=setup.where))
