"""Opens the backend: Reflexio at a URL, or the embedded store in this process."""

import os
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reflexio_mcp import private_files
from reflexio_mcp.settings import ConfigurationError, Settings
from reflexio_mcp.state.keys import WrongKey
from reflexio_mcp.state.records import Owner
from reflexio_mcp.state.state import State
from reflexio_mcp.state.tables import SqliteDatabase, StateUnusable, holds_sealed

# Imported by the first call, so that a server starts without them.
if TYPE_CHECKING:
    from reflexio_mcp.embedded_store.app import EmbeddedStore
    from reflexio_mcp.rest.client import ReflexioClient
    from reflexio_mcp.state.postgresql import PostgresqlDatabase
    from reflexio_mcp.traffic.content import Fingerprints
    from reflexio_mcp.traffic.policy import PolicyFile
    from reflexio_mcp.traffic.scope import Scope

__all__ = [
    "default_store",
    "link",
    "location_of",
    "open_client",
    "open_postgresql",
    "open_state",
    "owner_of",
    "process_key",
    "refuse_wrong_keys",
    "scopes_of",
    "state_file",
    "store_folder",
]

EMBEDDED_URL: Final = "http://embedded.reflexio.invalid"

_KEY_BYTES: Final = 32

DRIVER_MISSING: Final = (
    "REFLEXIO_MCP_STATE needs the extra `postgres`, which is not installed: in a clone "
    'uv tool install ".[postgres]" or pip install ".[postgres]".'
)
_KEY_FILE: Final = "fingerprint.key"
_STATE_FILE: Final = "state.db"

# Problem and advice of a `StateUnusable` or `WrongKey`.
KEY_CANNOT_BE_KEPT: Final = (
    "the key of the state cannot be kept in a file",
    "let this server write fingerprint.key next to the store's file, or in its data folder if there is no store file",
)
KEY_MISSING: Final = (
    "the file fingerprint.key is not next to state.db, which it encrypted",
    (
        "put it back from a backup; if it is lost, remove state.db and state.end, with all recovery copies, receipts "
        "and the audit log"
    ),
)
KEY_OF_WRONG_SIZE: Final = (
    "the file fingerprint.key has {size:,} bytes instead of {whole}",
    (
        "put the whole key back from a backup; if it is lost, remove it together with state.db and state.end, with all "
        "recovery copies, receipts and the audit log"
    ),
)


_WAITS_FOR_KEY: Final = (0.0, 0.05, 0.1, 0.2, 0.4)
"""Seconds before each further look for a key file that is missing beside a state. The last look decides."""


def default_store() -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir("reflexio-mcp", appauthor=False)) / "store.db"


def location_of(settings: Settings) -> str:
    """The file of the embedded store, or the URL of Reflexio."""
    if not settings.embedded:
        return settings.base_url
    if settings.store == ":memory:":
        return settings.store
    return str(Path(settings.store or default_store()).resolve())


def store_folder(settings: Settings) -> Path | None:
    """The folder of the embedded store, of the state and of the key; `None` in memory."""
    if settings.store == ":memory:":
        return None
    return Path(settings.store or default_store()).resolve().parent


def state_file(settings: Settings) -> Path | None:
    return folder / _STATE_FILE if (folder := store_folder(settings)) else None


def local_key(settings: Settings) -> bytes | None:
    """Return the secret that all processes of this user on this machine share; `None` for a store in memory.

    The local state is sealed with this key. So an existing key file is never replaced, and no new one is made beside a
    sealed state. If neither state keys nor an API key are set, fingerprints and plan codes are made with it, too.

    Raises `WrongKey` if the file cannot be used, and `StateUnusable` if it cannot be made.
    """
    if (folder := store_folder(settings)) is None:
        return None
    path = folder / _KEY_FILE
    if not path.is_symlink():  # `restrict` would change the target of a link; `read_secret` refuses the link
        private_files.restrict(path)
    try:
        found = private_files.read_secret(path)
        waits = iter(_WAITS_FOR_KEY)
        # Another process may be making both files at this moment.
        while found is None and holds_sealed(folder / _STATE_FILE):
            wait = next(waits, None)
            if wait is None:
                raise WrongKey(*KEY_MISSING)
            time.sleep(wait)
            found = private_files.read_secret(path)
        if found is None:
            private_files.make_secret(path, secrets.token_bytes(_KEY_BYTES))
            found = private_files.read_secret(path) or b""  # empty if somebody has removed it at once
    except WrongKey:  # an `OSError` too
        raise
    except private_files.UnusableSecret as error:
        raise WrongKey(f"the file {_KEY_FILE} next to state.db {error.problem}", error.advice) from None
    except OSError:
        raise StateUnusable(*KEY_CANNOT_BE_KEPT) from None
    key = _without_line_end(found)
    if len(key) != _KEY_BYTES:
        problem, advice = KEY_OF_WRONG_SIZE
        raise WrongKey(problem.format(size=len(found), whole=_KEY_BYTES), advice)
    return key


def _without_line_end(found: bytes) -> bytes:
    """Remove a line end that an editor or a shell has added. The key itself may end with any byte."""
    if len(found) > _KEY_BYTES and found[_KEY_BYTES:] in (b"\n", b"\r\n"):
        return found[:_KEY_BYTES]
    return found


def process_key(settings: Settings) -> bytes:
    """Return the local key, or a random key if there is none that can be used. Plan codes and fingerprints that are
    made with a random key are valid for this process only.
    """
    try:
        return local_key(settings) or secrets.token_bytes(_KEY_BYTES)
    except StateUnusable:
        return secrets.token_bytes(_KEY_BYTES)


def open_state(settings: Settings) -> State:
    """Make the state. Its first use opens it.

    Raises:
        ConfigurationError: PostgreSQL's driver is not installed, or the URL of the database is unreadable.
    """
    if settings.state:
        database = open_postgresql(settings.state)
    else:
        # Functions, because the paths are looked for when the state is first used. The second function returns the
        # folder in which an early version kept recovery copies.
        database = SqliteDatabase(lambda: state_file(settings), lambda: default_store().parent / "recovery")

    def keys() -> list[bytes]:
        if settings.state:
            return [key.encode() for key in settings.state_keys]
        # A state in memory has a key in memory. A local key that cannot be used is an error here.
        return [local_key(settings) or secrets.token_bytes(_KEY_BYTES)]

    return State(
        database, keys, limit=settings.delete_cap, days=settings.recovery_days, folder=store_folder(settings)
    )


def open_postgresql(url: str) -> "PostgresqlDatabase":
    """Make the database of shared state. Raises `ConfigurationError` without the driver, or for an unreadable URL."""
    try:
        from reflexio_mcp.state.postgresql import PostgresqlDatabase  # the driver is an extra
    except ImportError:
        raise ConfigurationError(DRIVER_MISSING) from None
    try:
        return PostgresqlDatabase(url)
    except StateUnusable as error:
        raise ConfigurationError(f"REFLEXIO_MCP_STATE: {error.strerror}.") from None


def refuse_wrong_keys(settings: Settings, *, starts: bool) -> None:
    """Raise `WrongKey` if the key file cannot be used, or if the keys of this server are not those of the state.

    A state that cannot be reached is no reason to stop: reading and publishing go on without it.

    Args:
        starts: a server starts with these keys. The state then notes the newest of them, and servers that lack this key
            delete nothing from now on.
    """
    folder = store_folder(settings)
    try:
        if not settings.state and folder and os.path.lexists(folder / _KEY_FILE):
            local_key(settings)  # raises, even if there is no state yet
        if settings.state or (folder and (folder / _STATE_FILE).exists()):
            with closing(open_state(settings).database) as database, database.transaction(writes=starts):
                pass  # opening the state compares the keys
    except WrongKey:  # a `StateUnusable` too
        raise
    except StateUnusable:
        return


def open_client(settings: Settings) -> "ReflexioClient":
    """Make a client of the backend. Its first call opens it."""
    from reflexio_mcp.rest.client import ReflexioClient

    if not settings.embedded:
        return ReflexioClient(
            settings.base_url,
            api_key=settings.api_key or None,
            timeout=settings.timeout,
            names_address=not settings.oauth_issuer,  # people who sign in do not learn it
        )

    def store() -> "EmbeddedStore":
        from reflexio_mcp.embedded_store.app import EmbeddedStore

        return EmbeddedStore(location_of(settings))

    return ReflexioClient(EMBEDDED_URL, timeout=settings.timeout, transport=store)


def scopes_of(settings: Settings) -> "partial[Scope]":
    """Return what makes a scope of this configuration, given a client, the user and the caller."""
    from reflexio_mcp.traffic.policy import policy_at
    from reflexio_mcp.traffic.scope import Scope

    return partial(
        Scope,
        masked=settings.mask,
        learns=not settings.embedded,
        embedded=settings.embedded,
        policy=policy_at(settings.policy),
        fingerprints=fingerprints_of(settings),
    )


def fingerprints_of(settings: Settings) -> "Fingerprints":
    """Return what makes the fingerprints of this configuration, and seals ids."""
    from reflexio_mcp.traffic.content import Fingerprints

    # Replicas have these secrets in common, and so the same fingerprints.
    shared_secret = settings.state_keys[0] if settings.state_keys else settings.api_key

    def secret() -> bytes:
        return shared_secret.encode() if shared_secret else process_key(settings)

    return Fingerprints(secret)


def link(client: "ReflexioClient", policy: "PolicyFile") -> None:
    """Give the client the holds in force, and give the policy the difference between this clock and the service's."""
    client.holds = lambda: policy.now().hold
    policy.clock_ahead = lambda: client.clock_ahead


@asynccontextmanager
async def open_scope(settings: Settings) -> AsyncGenerator["Scope"]:
    """The scope of a command: everything that the configuration reaches."""
    async with open_client(settings) as client:
        scope = scopes_of(settings)(client, settings.user_id)
        link(client, scope.policy)
        yield scope


async def owner_of(scope: "Scope", settings: Settings) -> Owner:
    """Return the owner of deletions and recovery copies: the organisation (not its key), the user and the caller.

    The embedded store is known by its random id, so that its copies move with it, and another file at the same place
    does not get them.
    """
    identity = await scope.client.whoami()
    account = f"{location_of(settings)}\0{identity.org_id}"
    if not settings.embedded:
        return Owner(account, scope.user_id, scope.caller)
    # Copies that were made before the store had an id are under its path.
    earlier = account if identity.store_had_no_id else ""
    return Owner(f"embedded\0{identity.store_id}", scope.user_id, scope.caller, earlier)
