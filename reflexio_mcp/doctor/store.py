"""The files of this server's own: the embedded store, the audit log, the recovery copies."""

import os
import shutil
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from reflexio_mcp.backend import default_store, open_state, probe_state, state_file
from reflexio_mcp.doctor.environment import Environment
from reflexio_mcp.doctor.report import Finding, failure, note, ok, skipped, warning
from reflexio_mcp.embedded_store import schema
from reflexio_mcp.settings import ConfigurationError
from reflexio_mcp.state.database import StateUnusable, nothing_goes

__all__ = ["check_state", "check_store", "check_written_files"]

INSTALL_EXTRA: Final = (
    'Install the extra: in a clone `uv tool install ".[postgres]"` or `pip install ".[postgres]"`, from PyPI '
    "reflexio-mcp[postgres]."
)

SPARE_BYTES: Final = 50 * 1024 * 1024


async def check_store(environment: Environment) -> list[Finding]:
    """Look at the file without changing or creating it."""
    if not environment.settings.embedded:
        return [skipped("Reflexio keeps the data")]
    if environment.settings.store == ":memory:":
        return [note("nothing is kept: the store is in memory", "store-in-memory")]
    path = Path(environment.settings.store) if environment.settings.store else default_store()
    if blocked := _not_writable(path, "store-not-writable"):
        return [blocked]
    if not path.exists():
        return [ok(f"the first call creates {path}")]
    return _file(path) or [ok(f"{path}, {path.stat().st_size:,} bytes, readable by you alone")]


def _file(path: Path) -> list[Finding]:
    try:
        with closing(
            sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True, timeout=2)
        ) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError:
        return [failure("store-not-readable", f"{path} cannot be opened")]
    except sqlite3.DatabaseError:
        return [failure("store-not-a-store", f"{path} is not a store of reflexio-mcp")]
    if tables and application != schema.APPLICATION_ID:
        return [failure("store-not-a-store", f"{path} is not a store of reflexio-mcp")]
    if version > schema.SCHEMA_VERSION:
        return [failure("store-newer", f"{path} was written by a newer version of reflexio-mcp")]
    found: list[Finding] = []
    if sys.platform != "win32" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        said = f"other users of this machine can read {path}"
        found.append(warning("store-readable-by-others", said, do=f"Run `chmod 600 {path}`."))
    if shutil.disk_usage(path.parent).free < SPARE_BYTES:
        found.append(warning("disk-nearly-full", f"the disk of {path} is nearly full"))
    return found


def _not_writable(path: Path, name: str) -> Finding | None:
    """Why a file cannot be written, or `None`."""
    try:
        why = _why_not_writable(path)
    except PermissionError:
        why = "A folder above it may not be looked into by this user."
    return failure(name, f"{path} cannot be written", why=why) if why else None


def _why_not_writable(path: Path) -> str:
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    where = path if path.exists() else folder
    if path.is_dir() or not folder.is_dir():
        return "A folder stands there, or a file where a folder should."
    if path.exists() and not path.is_file():
        return "It is a pipe or a device, and not a file."
    if os.access(where, os.W_OK) and os.access(folder, os.W_OK | os.X_OK):
        return ""
    return f"The permissions of {where} do not allow it."


async def check_state(environment: Environment) -> list[Finding]:
    """Try once what a deletion does in the state database, and leave nothing behind; or look at the state's file."""
    settings = environment.settings
    try:
        if settings.state:
            await anyio.to_thread.run_sync(probe_state, settings)
            return [ok("the state database answers")]
        from reflexio_mcp.tools.catalog import deletes

        if deletes(settings):
            await anyio.to_thread.run_sync(open_state(settings).database.check)
    except ConfigurationError as error:
        return [failure("state-not-usable", "psycopg is not installed", why=str(error), do=INSTALL_EXTRA)]
    except StateUnusable as error:
        if settings.state:
            return [failure("state-not-usable", nothing_goes(error))]
        # The sentence is also a model's to read, and so names no path.
        why = f"While what is deleted in an hour cannot be counted in {state_file(settings)}, nothing is deleted."
        return [failure("state-not-writable", nothing_goes(error), why=why)]
    return []


async def check_written_files(environment: Environment) -> list[Finding]:
    """The audit log and the recovery copies, where they are wanted."""
    settings = environment.settings
    found: list[Finding] = []
    if settings.audit_log:
        blocked = _not_writable(Path(settings.audit_log), "audit-log-not-writable")
        found.append(blocked or ok(f"{settings.audit_log} can be written"))
    if settings.recovery_days and settings.recovery_dir:
        # A folder is judged by a file that would be made in it.
        blocked = _not_writable(Path(settings.recovery_dir) / "copy", "recovery-not-writable")
        found.append(blocked or ok(f"{settings.recovery_dir} can be written"))
    return found
