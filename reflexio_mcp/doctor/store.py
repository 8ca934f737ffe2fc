"""The embedded store's file: is it one, can it be used, who else can read it."""

import os
import shutil
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

from reflexio_mcp.backend import default_store
from reflexio_mcp.doctor.case import Case
from reflexio_mcp.doctor.report import Finding, failure, note, ok, skipped, warning
from reflexio_mcp.store import schema

__all__ = ["check_store", "check_written_files"]

SPARE_BYTES: Final = 50 * 1024 * 1024


async def check_store(case: Case) -> list[Finding]:
    """Look at the file without changing or making it."""
    if not case.settings.embedded:
        return [skipped("Reflexio keeps the data")]
    if case.settings.store == ":memory:":
        return [note("nothing is kept: the store is in memory", "store-in-memory")]
    path = Path(case.settings.store) if case.settings.store else default_store()
    blocked = _not_writable(path, "store", "REFLEXIO_MCP_STORE")
    if blocked:
        return [blocked]
    if not path.exists():
        return [ok(f"{path} will be made by the first call")]
    return _file(path) or [ok(f"{path}, {path.stat().st_size:,} bytes, readable by you alone")]


def _file(path: Path) -> list[Finding]:
    found: list[Finding] = []
    try:
        with closing(
            sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True, timeout=2)
        ) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError:
        return [
            failure(
                "store-not-readable",
                f"{path} cannot be opened",
                "Another program holds it, or the folder does not allow it.",
                "Close what uses it, and check the rights of its folder.",
            )
        ]
    except sqlite3.DatabaseError:
        return [_foreign(path)]
    if tables and application != schema.APPLICATION_ID:
        return [_foreign(path)]
    if version > schema.SCHEMA_VERSION:
        return [
            failure(
                "store-newer",
                f"{path} was written by a newer version of reflexio-mcp",
                "This version does not know its layout and leaves it alone.",
                "Upgrade reflexio-mcp.",
            )
        ]
    if sys.platform != "win32" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        found.append(
            warning(
                "store-readable-by-others",
                f"{path} can be read by other users of this machine",
                "It holds conversations.",
                f"chmod 600 {path}",
            )
        )
    if shutil.disk_usage(path.parent).free < SPARE_BYTES:
        found.append(
            warning(
                "disk-nearly-full",
                f"the disk of {path} is nearly full",
                "Publishing will fail when it is.",
                "Make room.",
            )
        )
    return found


def _foreign(path: Path) -> Finding:
    return failure(
        "store-not-a-store",
        f"{path} is not a store of reflexio-mcp",
        "It is another program's file, or damaged; it is never written to.",
        "Name another file in REFLEXIO_MCP_STORE.",
    )


def _not_writable(path: Path, word: str, variable: str) -> Finding | None:
    """Why a file cannot be written, or `None`."""
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    where = path if path.exists() else folder
    wrong_kind = path.is_dir() or not folder.is_dir()
    if not wrong_kind and os.access(where, os.W_OK) and os.access(folder, os.W_OK):
        return None
    return failure(
        f"{word}-not-writable",
        f"{path} cannot be written",
        "A folder stands there, or a file where a folder should."
        if wrong_kind
        else f"{where} does not allow it.",
        f"Name another file in {variable}, or change the rights.",
    )


async def check_written_files(case: Case) -> list[Finding]:
    """The audit log and the recovery copies, where they are wanted."""
    settings = case.settings
    found: list[Finding] = []
    for wanted, word, variable in (
        (settings.audit_log, "audit-log", "REFLEXIO_MCP_AUDIT_LOG"),
        (settings.recovery_dir if settings.recovery_days else "", "recovery", "REFLEXIO_MCP_RECOVERY_DIR"),
    ):
        if wanted:
            # A recovery folder is judged by a file that would be made in it.
            path = Path(wanted) / "copy" if word == "recovery" else Path(wanted)
            found.append(_not_writable(path, word, variable) or ok(f"{wanted} can be written"))
    return found or [skipped("neither an audit log nor a recovery folder is named")]
