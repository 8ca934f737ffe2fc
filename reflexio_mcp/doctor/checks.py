"""The checks of a set-up, and their problems."""

import errno
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple

import anyio
import anyio.to_thread

from reflexio_mcp.backend import location_of, open_client, open_postgresql, open_state, refuse_wrong_keys
from reflexio_mcp.install.entry import visible
from reflexio_mcp.render.words import SHELL, refusal
from reflexio_mcp.rest.api_limits import check_api_key
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import BadAddress, NotAuthorized, ReflexioError, Unreachable
from reflexio_mcp.results.facts import FactCode
from reflexio_mcp.results.failures import failure_facts
from reflexio_mcp.settings import HOSTED_URL, ConfigurationError, Settings, load
from reflexio_mcp.state.state import State
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.traffic.errors import InvalidInput, state_facts
from reflexio_mcp.traffic.policy import policy_at

CALL_SECONDS = 8.0

Status = Literal["ok", "note", "warning", "failure"]


class Finding(NamedTuple):
    """What a check has found.

    Args:
        what: the finding itself.
        name: a key of `PROBLEMS`, or the kind of a failed call; empty if nothing is wrong.
        why: what it means.
        do: what to do about it.
        check: a key of `CHECKS`, or `clients`.
        where: this shell, or the client whose entry was checked.
    """

    status: Status
    what: str
    name: str = ""
    why: str = ""
    do: str = ""
    check: str = ""
    where: str = ""


class Problem(NamedTuple):
    """The meaning of a problem and what to do, in sentences."""

    status: Status
    means: str
    do: str


CHECK_STATE: Final = "Mend the database, then run `reflexio-mcp state check`."
_KEY_FROM_ACCOUNT: Final = "Set REFLEXIO_API_KEY to a key from your Reflexio account."

# fmt: off
PROBLEMS: Final = {
    "configuration-invalid": Problem(
        "failure", "The server refuses this value and does not start.", "Correct the value."),
    "key-missing": Problem("failure", "The server answers nobody without a key.", _KEY_FROM_ACCOUNT),
    "key-refused": Problem("failure", "The server does not know this key, or it was revoked.", _KEY_FROM_ACCOUNT),
    "key-malformed": Problem(
        "failure", "This is not a key: it contains blanks or quotes, begins with Bearer, or is an example.",
        "Set REFLEXIO_API_KEY to the bare key from your Reflexio account."),
    "key-sent-in-clear": Problem(
        "warning", "Anyone on the network path can read it.", "Use an https address in REFLEXIO_URL."),
    "certificate-not-trusted": Problem(
        "failure", "The certificate has expired, is for another name, or its issuer is not known to this machine.",
        "Have it renewed, or name the issuer's certificate file in SSL_CERT_FILE."),
    "storage-not-configured": Problem(
        "failure", "What is published would be lost.", "Finish setting up the Reflexio server."),
    "policy-missing": Problem(
        "warning", "Its server deletes what a hold keeps, unless the client passes REFLEXIO_MCP_POLICY on.",
        "Run `reflexio-mcp install` for this client again, with --replace, --policy FILE and the settings of the "
        "entry."),
    "store-not-usable": Problem(
        "failure", "Nothing can be stored, read or deleted.",
        "Name another file in REFLEXIO_MCP_STORE, or change the permissions."),
    "state-not-usable": Problem(
        "failure", "A deletion that cannot be recorded and counted is not carried out.",
        "Let the server write to the folder of the store, or correct REFLEXIO_MCP_STATE."),
    "log-cut": Problem(
        "warning", "The end of the log was cut off, or the state was removed, emptied or restored from a backup.",
        "Run `reflexio-mcp log --verify`, and find out who writes to the state."),
    "log-changed": Problem(
        "warning", "The log does not prove what was done before that row.",
        "Run `reflexio-mcp log --verify`, and find out who writes to the state."),
    "copies-older": Problem(
        "warning", "They may have been erased since, so they are not restored.",
        "Put a missing key back in REFLEXIO_MCP_STATE_KEYS, or remove the copies as docs/shared-server.md says."),
    "copies-unreadable": Problem(
        "warning", "They can be neither restored nor erased; they are removed when their days are over.",
        "Put the key back in REFLEXIO_MCP_STATE_KEYS, or remove the copies as docs/shared-server.md says."),
    "copies-changed": Problem(
        "warning", "They can be neither restored nor erased; they are removed when their days are over.",
        "Find out who writes to the state."),
    "sign-in-fails": Problem(
        "failure", "Access tokens cannot be checked, so nobody can sign in.",
        "Compare REFLEXIO_MCP_OAUTH_ISSUER, the client id and its secret with the authorization server."),
    "client-file-unreadable": Problem(
        "warning", "The client cannot read the file either.", "Correct the file or its permissions."),
    "client-command-missing": Problem(
        "failure", "The client has nothing to start.",
        "Run `reflexio-mcp install` for this client again, with --replace and the settings of the entry."),
    "client-key-not-set": Problem(
        "warning", "Started from this shell, the server would have no key.",
        "Set the variable where the client is started."),
    "no-client": Problem(
        "note", "No client's file names this server.", "Without a plugin or bundle, run `reflexio-mcp install`."),
}
# fmt: on


def ok(what: str) -> Finding:
    return Finding("ok", what)


def note(what: str) -> Finding:
    return Finding("note", what)


def problem(name: str, what: str) -> Finding:
    status, means, do = PROBLEMS[name]
    return Finding(status, what, name, means, do)


@dataclass(slots=True)
class Setup:
    """The variables of this shell or of a client's entry. The first check loads `settings` from them."""

    where: str
    env: Mapping[str, str]
    key_unknown: bool = False  # the entry refers to a key that this shell does not have
    shell_has_policy: bool = False
    settings: Settings = field(default_factory=Settings)

    def client(self) -> ReflexioClient:
        return open_client(replace(self.settings, timeout=min(self.settings.timeout, CALL_SECONDS)))


async def _settings(setup: Setup) -> Finding:
    from reflexio_mcp.tools.catalog import offered

    settings = setup.settings = load(setup.env)
    offered(settings)  # raises if a tool in REFLEXIO_MCP_TOOLS is unknown
    token_has_user = [":" in token for token in settings.auth_token]
    may_call = {
        "people who sign in see their own memory": bool(settings.oauth_issuer),
        "a token with a user sees that user alone": any(token_has_user),
        "a token without a user sees every user": not all(token_has_user),
    }
    who = "; ".join(caller for caller, may in may_call.items() if may) or "every user is visible"
    if settings.user_id:
        who = f"confined to the user {visible('REFLEXIO_USER_ID', settings.user_id)}"
    place = settings.base_url or f"the file {visible('REFLEXIO_MCP_STORE', location_of(settings))}"
    return ok(f"uses {place}; {who}{'; read-only' if settings.read_only else ''}")


async def _policy(setup: Setup) -> Finding | None:
    from reflexio_mcp.tools.catalog import deletes

    if not setup.settings.policy:
        if setup.shell_has_policy and deletes(setup.settings):
            return problem("policy-missing", "The entry names no policy file; this shell does.")
        return None
    try:
        policy_at(setup.settings.policy)
    except InvalidInput as error:
        return problem("configuration-invalid", str(error))
    return ok("the policy file can be used")


async def _store(setup: Setup) -> Finding | None:
    if not setup.settings.embedded:
        return None
    path = location_of(setup.settings)
    name = visible("REFLEXIO_MCP_STORE", path)
    if path == ":memory:":
        return note("nothing is kept: the store is in memory")
    try:
        if not await anyio.to_thread.run_sync(_is_there, path):
            return ok(f"the first call creates {name}")
        async with setup.client() as client:
            await client.whoami()
    except OSError as error:
        return problem("store-not-usable", f"{name} cannot be opened or created: {error.strerror}.")
    except ReflexioError as error:
        return problem("store-not-usable", error.said or refusal(failure_facts(error), SHELL).said)
    return ok(f"{name} can be used")


def _is_there(path: str) -> bool:
    """Whether the file is there. If not, the first call can create it.

    Raises:
        OSError: the file cannot be looked for, or a folder does not let this user create it.
    """
    try:
        Path(path).stat()
    except FileNotFoundError:
        folder = next(folder for folder in Path(path).absolute().parents if folder.is_dir())
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None
        return False
    return True


async def _state(setup: Setup) -> Finding | None:
    from reflexio_mcp.tools.catalog import deletes

    if not setup.settings.state and not deletes(setup.settings):
        return None
    try:
        await anyio.to_thread.run_sync(partial(refuse_wrong_keys, setup.settings, starts=False))
        if setup.settings.state and (
            wrong := await anyio.to_thread.run_sync(_wrong_with_tables, setup.settings.state)
        ):
            return problem("state-not-usable", wrong)._replace(do=CHECK_STATE)
        state = open_state(setup.settings)
        with closing(state.database):
            return await anyio.to_thread.run_sync(_check_state, state)
    except ConfigurationError as error:
        return problem("state-not-usable", str(error))
    except StateUnusable as error:
        happened, advice = map(SHELL.of, state_facts(error, FactCode.NO_DELETION_NOW))
        return problem("state-not-usable", happened)._replace(do=advice)


def _wrong_with_tables(url: str) -> str:
    from reflexio_mcp.state_command import wrong_with  # few servers share their state

    with closing(open_postgresql(url)) as database:
        return wrong_with(database.look())


def _check_state(state: State) -> Finding:
    state.check()
    if state.log.is_cut():
        return problem("log-cut", "The audit log lacks lines that were written.")
    if row := state.log.verify().wrong:
        return problem(
            "log-changed",
            f"Row {row} of the audit log or the row before it was changed, or the key of a row is missing.",
        )
    if number := state.older_copies():
        return problem(
            "copies-older",
            f"{number:,} recovery copies are older than a gap in the audit log, or than a deletion that erased copies "
            "and whose record cannot be read.",
        )
    if number := state.copies.count_unreadable():
        return problem(
            "copies-unreadable",
            f"{number:,} recovery copies are encrypted with a key that this server does not have.",
        )
    if number := state.copies.count_changed():
        return problem("copies-changed", f"{number:,} recovery copies were changed in the state.")
    return ok("deletions can be recorded")


async def _sign_in(setup: Setup) -> Finding | None:
    settings = setup.settings
    if not settings.oauth_issuer:
        return None
    from reflexio_mcp.http.oauth import SignIn  # it is slow to import

    async with aclosing(SignIn(settings, {})) as sign_in:
        why = await sign_in.trouble()
    if why:
        return problem("sign-in-fails", f"{settings.oauth_issuer} {why}")
    return ok(f"people sign in at {settings.oauth_issuer}, with tokens for {settings.oauth_audience}")


async def _key(setup: Setup) -> Finding | None:
    key, url = setup.settings.api_key, setup.settings.base_url
    if not url:
        return None
    is_in_clear = re.match(r"http://(?!(localhost|127\.[\d.]+|\[::1\])(:\d+)?(/|$))", url)
    if setup.key_unknown and is_in_clear:
        return problem(
            "key-sent-in-clear", "A key that the client has is sent to another machine over plain http."
        )
    if setup.key_unknown:
        return note("the key is not known here, so access is not checked")
    if not key:
        if url == HOSTED_URL:
            return problem("key-missing", "REFLEXIO_API_KEY is not set, and the hosted service needs it.")
        return note("no key is set; the open-source server needs none")
    try:
        check_api_key(key)
        usable = not re.match(r"[\"']|bearer|your.api.key$|changeme$|xxx$", key, re.IGNORECASE)
    except BadAddress:
        usable = False
    if not usable:
        return problem("key-malformed", "REFLEXIO_API_KEY is not a key.")
    if is_in_clear:
        return problem("key-sent-in-clear", "The key is sent to another machine over plain http.")
    return ok("a key is set")


async def _backend(setup: Setup) -> Finding | None:
    if setup.settings.embedded:
        return None
    async with setup.client() as client:
        await client.health()
        if setup.key_unknown:
            return ok(f"{setup.settings.base_url} is a Reflexio API")
        me = await client.whoami()
        version = (await client.version()).server_version
    if not me.storage_configured:
        return problem("storage-not-configured", "The server has no storage yet.")
    return ok(f"accepted as {me.org_id or 'the only organisation'}; server version {version[:40]!a}")


CHECKS: Final[dict[str, Callable[[Setup], Awaitable[Finding | None]]]] = {
    "settings": _settings,
    "policy": _policy,
    "store": _store,
    "state": _state,
    "sign-in": _sign_in,
    "key": _key,
    "backend": _backend,
}
"""The checks in order: `settings` loads what the others use. A check that does not apply returns `None`."""


async def examine(setup: Setup, add: Callable[[Finding], None]) -> None:
    """Run checks up to the first failure, and report each finding."""
    for name, check in CHECKS.items():
        try:
            found = await check(setup)
        except ConfigurationError as error:
            found = problem("configuration-invalid", str(error))
        except ReflexioError as error:
            found = _failed_call(error, has_key=bool(setup.settings.api_key))
        if found is not None:
            add(found._replace(check=name, where=setup.where))
        if found is not None and found.status == "failure":
            return


def _failed_call(error: ReflexioError, *, has_key: bool) -> Finding:
    """Describe a failed call in the words of the other commands."""
    happened, *_, advice = map(SHELL.of, failure_facts(error))  # between them may be what the service said
    if isinstance(error, NotAuthorized):
        return problem("key-refused" if has_key else "key-missing", happened)
    if isinstance(error, Unreachable) and error.bad_certificate:
        return problem("certificate-not-trusted", happened)
    name = re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()  # `not-the-api` of `NotTheApi`
    return Finding("failure", happened, name, "The call did not succeed.", advice)
