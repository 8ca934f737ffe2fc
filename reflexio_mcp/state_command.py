"""`reflexio-mcp state`: makes, checks and upgrades the tables that replicas share."""

import sys
from argparse import Namespace
from contextlib import closing
from typing import TYPE_CHECKING, Final

from reflexio_mcp.backend import open_postgresql, open_state, state_file
from reflexio_mcp.results.base import visible
from reflexio_mcp.screen import TerminalProgress, print_json
from reflexio_mcp.settings import ConfigurationError, Settings, load, state_url
from reflexio_mcp.state.tables import VERSION

__all__ = ["wrong_with"]

if TYPE_CHECKING:
    from reflexio_mcp.state.postgresql import SetUp

GRANTED_ELSEWHERE: Final = (
    "This command could not change that: the role is a member of another one, or an administrator decides it. Correct "
    "it as an administrator."
)


def run_state(arguments: Namespace) -> int:
    """Do what was asked for. On the first problem, print it with what to do about it, and return 1."""
    if arguments.action == "check":
        return _check(load(), as_json=arguments.json)
    url = state_url()
    if not url:
        raise ConfigurationError(
            "REFLEXIO_MCP_STATE has to name the PostgreSQL database. Without it, the state is a file on this computer, "
            "which the server makes."
        )
    with TerminalProgress().shown(), closing(open_postgresql(url)) as database:
        found = database.look()
        if problem := _reason_against_set_up(found, upgrades=arguments.action == "upgrade"):
            return _fail(problem)
        database.set_up()
        if problem := _words_of_rights(database.look(), mend=GRANTED_ELSEWHERE):
            return _fail(problem)
    if arguments.json:
        print_json({"tables_version": str(VERSION), "role_of_servers": _role_of_servers()})
    else:
        print(f"The tables have version {VERSION}, and {_role_of_servers()} can use them.")
    return 0


def _check(settings: Settings, *, as_json: bool) -> int:
    state = open_state(settings)
    with TerminalProgress().shown(), closing(state.database):
        if settings.state:
            with closing(open_postgresql(settings.state)) as database:
                found = database.look()
            if problem := wrong_with(found):
                return _fail(problem)
            facts = {"role": found.role, "tables_version": found.version, "schema_owner": found.owner}
            said = (
                f"role: {found.role}\n"
                f"tables: version {found.version}, in the schema reflexio_mcp of {found.owner}"
            )
        else:
            file = state_file(settings)
            facts = {"file": str(file or "")}
            said = f"file: {file or 'none, the state is in memory'}"
        state.check()
        if number := state.copies.count_unreadable():
            return _fail(
                f"{number:,} recovery copies are encrypted with a key that REFLEXIO_MCP_STATE_KEYS lacks. Put the key "
                "back, or remove them as docs/shared-server.md says."
            )
    if as_json:
        print_json(facts | {"deletions_can_be_recorded": True})
    else:
        print(visible(f"{said}\nDeletions can be recorded."))
    return 0


def wrong_with(found: "SetUp") -> str:
    """Say what is wrong for servers, and how to mend it; empty if nothing is."""
    if found.fits:
        return ""
    if found.incomplete:
        return _words_of_missing_tables(found)
    if found.version is None:
        return _words_of_no_tables(found)
    if found.version.isdecimal() and int(found.version) < VERSION:
        return (
            f"The tables have version {found.version}, and this program needs {VERSION}. Run `reflexio-mcp state "
            "upgrade` with the role that owns the schema."
        )
    return (
        _words_of_another_version(found)
        or _words_of_the_servers_role(found)
        or _words_of_another_role(found)
        or _words_of_rights(found, mend="Run `reflexio-mcp state create` with the role that owns the schema.")
    )


def _words_of_no_tables(found: "SetUp") -> str:
    """Say that none of the tables is where servers look."""
    if found.elsewhere:
        return (
            f"The tables are in the schema {found.elsewhere[0]}, and servers look in reflexio_mcp. Restore the "
            "backup into the schema reflexio_mcp."
        )
    return "There are no tables. Run `reflexio-mcp state create` with the role that owns the schema."


def _words_of_missing_tables(found: "SetUp") -> str:
    """Say which tables are missing, if others are there."""
    told: list[str] = []
    for table, schemas in found.missing.items():
        where = f" but in {', '.join(schemas)}" if schemas else ""
        told.append(f"The table {table} is not in the schema reflexio_mcp{where}.")
    return f"{' '.join(told)} Move what is elsewhere into reflexio_mcp, or restore a backup."


def _words_of_another_role(found: "SetUp") -> str:
    """Say that the role of the URL is not the servers'; empty if it is."""
    if found.role == _role_of_servers():
        return ""
    can = ", which can change the audit log" if found.owns else ""
    return (
        f"REFLEXIO_MCP_STATE names the role {found.role}{can}. Servers connect as {_role_of_servers()}: put that role "
        "and its password into the URL."
    )


def _words_of_rights(found: "SetUp", *, mend: str) -> str:
    """Say which rights the servers' role lacks or must not have, and how to mend it; empty if it has the right ones."""
    told: list[str] = []
    if found.lacking:
        told.append(f"The role {_role_of_servers()} lacks {', '.join(found.lacking)}.")
    if found.beyond:
        told.append(f"The role {_role_of_servers()} must not have {', '.join(found.beyond)}.")
    return " ".join([*told, mend]) if told else ""


def _reason_against_set_up(found: "SetUp", *, upgrades: bool) -> str:
    """Say why the tables cannot be made or upgraded with this role; empty if they can."""
    if found.owner and not found.owns:
        return (
            f"The schema reflexio_mcp belongs to the role {found.owner}, and REFLEXIO_MCP_STATE names {found.role}. "
            "Use the role of the owner."
        )
    if not found.owner and not found.may_create:
        return (
            f"There is no schema reflexio_mcp, and the role {found.role} cannot create one. As an administrator, run: "
            f"CREATE SCHEMA reflexio_mcp AUTHORIZATION {found.role};"
        )
    if found.incomplete:
        return _words_of_missing_tables(found)
    if found.version is None:
        return _words_of_no_tables(found) if found.elsewhere else _words_of_the_servers_role(found)
    if not upgrades and found.version.isdecimal() and int(found.version) < VERSION:
        return f"The tables have version {found.version}. After a backup, run `reflexio-mcp state upgrade`."
    return _words_of_another_version(found) or _words_of_the_servers_role(found)


def _words_of_another_version(found: "SetUp") -> str:
    """Say that the version of the tables is newer or unknown; empty if it is this program's or an earlier one."""
    if found.version and found.version.isdecimal() and int(found.version) <= VERSION:
        return ""
    return (
        f"The tables were made by another version of reflexio-mcp ({found.version or 'not marked'}; this program "
        f"needs {VERSION}). Start that version, or restore a backup."
    )


def _words_of_the_servers_role(found: "SetUp") -> str:
    """Say that there is no role for servers, or that it is a superuser; empty if neither is so."""
    role = _role_of_servers()
    if not found.has_servers:
        return (
            f"There is no role {role}, with which servers connect. As an administrator, run: CREATE ROLE "
            f"{role} LOGIN PASSWORD '...';"
        )
    if found.superuser:
        return (
            f"The role {role} is a superuser, who can change the audit log. As an administrator, run: ALTER ROLE "
            f"{role} NOSUPERUSER;"
        )
    return ""


def _role_of_servers() -> str:
    from reflexio_mcp.state.postgresql import SERVERS  # the driver is an extra

    return SERVERS


def _fail(problem: str) -> int:
    sys.stderr.write(f"reflexio-mcp: {visible(problem)}\n")
    return 1
