"""Opens the backend: Reflexio at a URL, or the embedded store in this process."""

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reflexio_mcp import private_files
from reflexio_mcp.settings import ConfigurationError, Settings
from reflexio_mcp.state.records import Owner
from reflexio_mcp.state.state import State
from reflexio_mcp.state.tables import SqliteDatabase, StateUnusable

# Imported by the first call, so that a server starts without them.
if TYPE_CHECKING:
    from reflexio_mcp.embedded_store.app import EmbeddedStore
    from reflexio_mcp.rest.client import ReflexioClient
    from reflexio_mcp.traffic.scope import Scope

__all__ = [
    "default_store",
    "local_key",
    "location_of",
    "open_client",
    "open_state",
    "owner_of",
    "scopes_of",
]

EMBEDDED_URL: Final = "http://embedded.reflexio.invalid"

_KEY_BYTES: Final = 32

NO_POSTGRES: Final = (
    "REFLEXIO_MCP_STATE needs the extra `postgres`, which is not installed: in a clone "
    'uv tool install ".[postgres]" or pip install ".[postgres]", from PyPI reflexio-mcp[postgres].'
)
NO_KEY: Final = (
    "the key of the state cannot be kept in a file",
    "let this server write fingerprint.key next to the store's file, or in its data folder if there is no store file",
)


def default_store() -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir("reflexio-mcp", appauthor=False)) / "store.db"


def location_of(settings: Settings) -> str:
    """The file of the embedded store, or the URL of Reflexio."""
    if not settings.embedded or settings.store == ":memory:":
        return settings.base_url or settings.store
    return str(Path(settings.store or default_store()).resolve())


def _folder(settings: Settings) -> Path | None:
    """The folder of the embedded store, of the state and of the key; `None` in memory."""
    if settings.store == ":memory:":
        return None
    return Path(settings.store or default_store()).resolve().parent


def state_file(settings: Settings) -> Path | None:
    return folder / "state.db" if (folder := _folder(settings)) else None


def local_key(settings: Settings) -> bytes | None:
    """Return the secret that all processes of this user on this machine share; `None` if no file can be kept.

    It seals the local state. If the operator has set no key, it also makes fingerprints and plan codes.
    """
    if (folder := _folder(settings)) is None:
        return None
    path = folder / "fingerprint.key"
    private_files.restrict(path)  # or keep_secret would replace the key of the recovery copies
    try:
        return private_files.keep_secret(
            path,
            make=lambda: secrets.token_bytes(_KEY_BYTES),
            is_whole=lambda found: len(found) == _KEY_BYTES,
        )
    except OSError:
        return None


def open_state(settings: Settings) -> State:
    """Make the state. Its first use opens it.

    Raises:
        ConfigurationError: PostgreSQL's driver is not installed, or the URL of the database is unreadable.
    """
    if settings.state:
        try:
            from reflexio_mcp.state.postgresql import PostgresqlDatabase
        except ImportError:
            raise ConfigurationError(NO_POSTGRES) from None
        try:
            database = PostgresqlDatabase(settings.state)
        except StateUnusable as error:
            raise ConfigurationError(f"REFLEXIO_MCP_STATE: {error.strerror}.") from None
    else:
        database = SqliteDatabase(lambda: state_file(settings), lambda: default_store().parent / "recovery")

    def keys() -> list[bytes]:
        if settings.state:
            return [key.encode() for key in settings.state_keys]
        if key := local_key(settings):
            return [key]
        if state_file(settings) is None:
            return [secrets.token_bytes(_KEY_BYTES)]
        raise StateUnusable(*NO_KEY)

    return State(database, keys, limit=settings.delete_cap, days=settings.recovery_days)


def open_client(settings: Settings) -> "ReflexioClient":
    """Make a client of the backend. Its first call opens it."""
    from reflexio_mcp.rest.client import ReflexioClient

    if not settings.embedded:
        return ReflexioClient(
            settings.base_url,
            api_key=settings.api_key or None,
            timeout=settings.timeout,
            names_address=not settings.oauth_issuer,
        )

    def store() -> "EmbeddedStore":
        from reflexio_mcp.embedded_store.app import EmbeddedStore

        return EmbeddedStore(location_of(settings))

    return ReflexioClient(EMBEDDED_URL, timeout=settings.timeout, transport=store)


def scopes_of(settings: Settings) -> "partial[Scope]":
    """Make scopes of this configuration, each from a client and the user of the scope."""
    from reflexio_mcp.traffic.content import Fingerprints
    from reflexio_mcp.traffic.policy import policy_at
    from reflexio_mcp.traffic.scope import Scope

    key = (*settings.state_keys, settings.api_key)[0]
    return partial(
        Scope,
        masked=settings.mask,
        learns=not settings.embedded,
        exact=settings.embedded,
        policy=policy_at(settings.policy),
        fingerprints=Fingerprints(
            lambda: key.encode() or local_key(settings) or secrets.token_bytes(_KEY_BYTES)
        ),
    )


@asynccontextmanager
async def open_scope(settings: Settings) -> AsyncGenerator["Scope"]:
    """The scope of a command: everything that the configuration reaches."""
    async with open_client(settings) as client:
        yield scopes_of(settings)(client, settings.user_id)


async def owner_of(scope: "Scope", settings: Settings) -> Owner:
    """Return the owner of deletions and recovery copies: the organisation (not its key), the user and the caller."""
    identity = await scope.client.whoami()
    return Owner(f"{location_of(settings)}\0{identity.org_id}", scope.user_id, scope.caller)
