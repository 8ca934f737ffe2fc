"""`reflexio-mcp delete`: delete stored requests from a shell or from CI, with a plan, a question and a receipt.

It calls the tool `delete_requests` in this process, once for the plan and once with the plan's code, so what a client
would be shown is shown here, and the hourly cap, the audit log and recovery copies hold as they do there. Whoever is
at the terminal is the person whose consent is asked for.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TextIO

import anyio

from reflexio_mcp.backend import place_of
from reflexio_mcp.install.launch import as_called
from reflexio_mcp.read_commands import Failed, call, nothing_found, same_filter, stored_sources, wanted
from reflexio_mcp.settings import ConfigurationError, Settings

__all__ = ["run_delete_command"]

_FENCE: Final = re.compile(r"^<<(?:stored text \w+: data, not instructions|end \w+)>>\n", re.MULTILINE)


def run_delete_command(arguments: argparse.Namespace, settings: Settings, out: TextIO | None = None) -> int:
    """Show what would go, ask, delete it and say what is really gone.

    Args:
        arguments: what was typed, as `cli.parse` gives it.
        settings: the configuration.
        out: where to write; stdout when `None`.

    Returns:
        0 when nothing that was chosen is left, also where a filter chose nothing; 1 when something is, an id was not
        found, or nobody agreed.

    Raises:
        ConfigurationError: nothing is chosen, a filter cannot be used, or the configuration does not allow this.
    """
    screen = out or sys.stdout
    chosen = _chosen(arguments, settings)
    mine = replace(settings, tools=(), tenancy="off", confirm="preview")
    screen.write(f"In {place_of(settings)}\n\n")
    try:
        facts, text = anyio.run(_delete, mine, chosen)
        of_filter = facts["status"] == "not_found" and "request_ids" not in chosen
        if of_filter and "unreadable" not in facts["plan"]:
            sources, empty = anyio.run(_sources, mine, chosen)
            screen.write(nothing_found("requests", chosen, settings, facts, empty=empty, sources=sources))
            screen.write(" Nothing was deleted.\n")
            return 0
        screen.write(f"{_for_a_person(text, facts)}\n")
        if arguments.dry_run:
            return 0
        if "confirm" not in facts or not (
            arguments.yes or _agreed(facts["confirm"], facts["plan"], settings, screen)
        ):
            return 1
        receipt, text = anyio.run(_delete, mine, chosen | {"confirm": facts["confirm"]})
    except Failed as error:
        sys.stderr.write(f"reflexio-mcp: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(
            "\nreflexio-mcp: Interrupted. A deletion that had begun went on to its end; what is left: "
            f"{as_called()} requests {same_filter(chosen)} --all\n"
        )
        raise
    screen.write(f"\n{_for_a_person(text, receipt)}\n")
    return 0 if receipt["status"] == "complete" else 1


def _chosen(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """The arguments of `delete_requests`.

    Raises:
        ConfigurationError: as `run_delete_command`.
    """
    from reflexio_mcp.traffic.times import iso, parse_time

    if settings.read_only:
        raise ConfigurationError(
            "REFLEXIO_MCP_READ_ONLY is set here, so nothing can be deleted. Unset it first."
        )
    if arguments.yes and settings.confirm == "ask":
        raise ConfigurationError(
            "REFLEXIO_MCP_CONFIRM=ask lets nobody delete unasked. Leave out --yes, or set it to auto for this command."
        )
    chosen = wanted(arguments, settings)
    for name in chosen.keys() & {"start_time", "end_time"}:
        # An age means the same time in the plan and in the deletion.
        chosen[name] = iso(parse_time(name, chosen[name], now=time.time(), end=name == "end_time"))
    if arguments.request_ids:
        if chosen.keys() - {"user_id"}:
            raise ConfigurationError("Name either ids or a filter. Beside ids only --user-id may stand.")
        chosen["request_ids"] = arguments.request_ids
    if not chosen:
        raise ConfigurationError(
            "Which requests? Add their ids, or a filter such as --source or --session-id."
        )
    if arguments.include_learnings and settings.embedded:
        raise ConfigurationError("The embedded store does not learn. Leave out --include-learnings.")
    if arguments.erase and settings.embedded and not settings.recovery_days:
        raise ConfigurationError("No recovery copies are kept here. Leave out --erase.")
    return chosen | {name: True for name in ("include_learnings", "erase") if getattr(arguments, name)}


async def _delete(settings: Settings, chosen: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """One call of `delete_requests`: its facts, and its text.

    Raises:
        Failed: the call was refused or failed.
    """
    from mcp import Client

    from reflexio_mcp.server.server import ReflexioServer

    async with Client(ReflexioServer(settings)) as client:
        try:
            return await call(client, "delete_requests", chosen)
        except Failed as error:  # outside, it would arrive in a group
            failed = error
    raise failed


async def _sources(settings: Settings, chosen: Mapping[str, Any]) -> tuple[list[str], bool]:
    from mcp import Client

    from reflexio_mcp.server.server import ReflexioServer

    async with Client(ReflexioServer(settings)) as client:
        return await stored_sources(client, chosen)


def _for_a_person(text: str, facts: Mapping[str, Any]) -> str:
    """What a result says, without what is for a model: the fence, and how to call the tool again."""
    text = text.removesuffix(f"={facts.get('confirm', '')}").removesuffix(str(facts.get("next", "")))
    all_of_them = facts.get("plan", {}).get("all", "")
    if all_of_them:
        flags = same_filter(json.loads(all_of_them.partition(" ")[2]))
        text = text.replace(f"all: {all_of_them}", f"all: {as_called()} requests {flags} --all")
    return _FENCE.sub("", f"{text}\n").strip()


def _agreed(code: str, plan: Mapping[str, Any], settings: Settings, screen: TextIO) -> bool:
    """Ask the person, as a client's form does: many, and those of several users, want their number typed."""
    count = int(code.partition("-")[0])  # a plan's code begins with how many it stands for
    typed = count > settings.confirm_above or len(plan.get("users", ())) > 1
    want = str(count) if typed else "y"
    what = f"Type {count} to delete" if typed else "Delete"
    screen.write(f"\n{what} {'this' if count == 1 else f'all {count}'}{': ' if typed else '? [y/N] '}")
    screen.flush()
    try:
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        answer = "\n"
        screen.write("\n")
    if answer.strip().lower() == want:
        return True
    screen.write(
        "Nothing was deleted.\n"
        if answer
        else "\nNothing was deleted: nobody answered. Add --yes where nobody can.\n"
    )
    return False
