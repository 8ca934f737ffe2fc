"""The command line.

Exit codes: 0 done, 1 something failed or was refused, 2 the command line or the configuration is wrong (`doctor`: a
failure was found), 130 Ctrl-C, 141 the program that read the output ended first.
"""

import gc
import os
import sys
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reflexio_mcp import __version__
from reflexio_mcp.logs import log_to_stderr
from reflexio_mcp.read_commands import FILTER, Failed, run_read_command
from reflexio_mcp.settings import OPTIONS, ConfigurationError, Settings, add_flags, load

__all__ = ["COMMANDS", "Command", "build_parser", "main", "parse"]

TRANSPORTS: Final = ("stdio", "http", "sse", "streamable-http")

LOCAL: Final = [option.name for option in OPTIONS if option.group != "http"]
"""The settings of a server without HTTP."""

WHERE: Final = ("url", "store", "timeout", "mask")
"""The settings that decide what a command looks at and shows."""

WAITING: Final = """\
reflexio-mcp is waiting for an MCP client on standard input. A client starts it by itself; to try it yourself:
  reflexio-mcp install     put it into a client
  reflexio-mcp demo        see a deletion
  reflexio-mcp sessions    list what is stored
  reflexio-mcp --help      everything else
Ctrl-C ends it.
"""

ID: Final = "id of a request, as `requests` lists it; put -- before ids that begin with a dash"


@dataclass(frozen=True, slots=True)
class Command:
    """One command: what it does and what it takes.

    Args:
        run: does it, and returns the exit code. It imports what it needs, so that no other command waits for it.
        examples: a line each.
        add: adds the arguments that have a value.
        switches: the flags without a value, with their help.
        settings: the settings that it takes as flags.
        usage: its arguments that are not flags.
    """

    about: str
    run: Callable[[Namespace], int]
    examples: str
    add: Callable[[ArgumentParser], object] = lambda parser: None
    switches: Mapping[str, str] = field(default_factory=dict[str, str])
    settings: Collection[str] = ()
    usage: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        # Stored text may have characters that an older terminal lacks. Serving has a stream of its own.
        reconfigure(errors="backslashreplace")
    try:
        arguments = parse(argv)
        code = arguments.run(arguments)
        sys.stdout.flush()
    except (ConfigurationError, Failed) as error:
        sys.stderr.write(f"reflexio-mcp: {error}\n")
        return 1 if isinstance(error, Failed) else 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Python would flush once more at its end and say so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code


def parse(argv: Sequence[str] | None = None) -> Namespace:
    """What was typed; `serve` without a command.

    Args:
        argv: the words after the program's name; those of the process when `None`.

    Raises:
        SystemExit: help was asked for (0), or the command line is wrong (2).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        # Most clients start it like this: they need not wait for the flags of every command.
        return Namespace(command="serve", transport="stdio", run=_serve)
    top, commands = build_parser()
    first = words[0]
    if first in ("help", "version"):
        words = ["--version"] if first == "version" else [*words[1:2], "--help"]
    elif first not in ("-h", "--help", "--version") and first.startswith("-"):
        words.insert(0, "serve")
    found, unknown = top.parse_known_args(words)
    if unknown:
        word = unknown[0].partition("=")[0]
        said = f"unknown option `{word}`" if word.startswith("-") else f"unexpected argument `{word}`"
        for option in OPTIONS:
            if option.secret and word == f"--{option.name.replace('_', '-')}":
                said += f"; set {option.env} instead, because other users can read a command line"
        commands[found.command].error(said)
    return found


def build_parser() -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    """The parser of the whole command line, and those of its commands."""
    shared: dict[str, Any] = {"formatter_class": RawDescriptionHelpFormatter, "allow_abbrev": False}
    top = ArgumentParser(
        prog="reflexio-mcp",
        usage="reflexio-mcp [COMMAND] [OPTIONS]",
        description="An MCP server to inspect, audit and delete what your AI assistant stored in Reflexio.\n"
        "Without a command it serves MCP on standard input and output, to the client that starts it.\n",
        epilog="reflexio-mcp COMMAND --help shows the options of a command.\n\n"
        "Exit codes: 0 done, 1 something failed or was refused, 2 the command line or configuration is wrong.",
        **shared,
    )
    top.add_argument("--version", action="version", version=f"reflexio-mcp {__version__}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", help=SUPPRESS)
    parsers: dict[str, ArgumentParser] = {}
    for title, commands in COMMANDS.items():
        top.description = f"{top.description}\n{title}:\n"
        for name, command in commands.items():
            top.description += f"  {name:12} {command.about}\n"
            parser = parsers[name] = subparsers.add_parser(
                name,
                prog=f"reflexio-mcp {name}",
                usage=f"reflexio-mcp {name} {command.usage}[OPTIONS]",
                description=f"{command.about[0].upper()}{command.about[1:]}.",
                epilog="Examples:\n  " + command.examples.replace("\n", "\n  "),
                **shared,
            )
            parser.set_defaults(run=command.run)
            command.add(parser)
            for flag, about in command.switches.items():
                parser.add_argument(flag, action="store_true", help=about)
            add_flags(parser, [option for option in OPTIONS if option.name in command.settings])
    return top, parsers


# --- arguments that have a value ---


def _client(parser: ArgumentParser) -> None:
    parser.add_argument(
        "client", nargs="?", default="", metavar="CLIENT", help="if left out: list the clients"
    )
    parser.add_argument("--name", default="reflexio", help="name of the entry (default: %(default)s)")
    parser.add_argument(
        "--remote", metavar="URL", help="address of a shared server, for an entry that reaches it"
    )


def _filter(parser: ArgumentParser, left_out: str = "", **other_help: str) -> None:
    section = parser.add_argument_group("Which requests")
    for name, about in (FILTER | other_help).items():
        given: dict[str, Any] = {"metavar": name.upper()}
        if name == "evaluation_only":
            given = {"action": "store_true"}
        if name != left_out:
            section.add_argument(f"--{name.replace('_', '-')}", dest=f"filter_{name}", help=about, **given)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 1_000_000:
        raise ArgumentTypeError("takes a whole number from 1 to 1000000")
    return int(text)


def _list(parser: ArgumentParser, **other_help: str) -> None:
    _filter(parser, **other_help)
    parser.add_argument(
        "--limit", type=_count, default=20, metavar="N", help="show at most N rows (default: %(default)s)"
    )


def _learned(parser: ArgumentParser) -> None:
    _list(parser, request_id="learned from this request", contains="learnings with all these words")


def _audit(parser: ArgumentParser) -> None:
    _filter(parser, left_out="finding")  # an audit looks for every finding


def _log(parser: ArgumentParser) -> None:
    about = (
        "check that no line was changed or is missing, not even that of CHAIN, the value that a receipt notes"
    )
    parser.add_argument("--verify", nargs="?", const="", metavar="CHAIN", help=about)


def _delete(parser: ArgumentParser) -> None:
    parser.add_argument("request_ids", nargs="*", metavar="REQUEST_ID", help=f"instead of a filter: {ID}")
    _filter(parser)


def _transport(parser: ArgumentParser) -> None:
    about = "how clients connect: stdio, or http for /mcp and /sse (default: %(default)s)"
    parser.add_argument("--transport", choices=TRANSPORTS, default=TRANSPORTS[0], help=about)


# --- what the commands do ---


def _flags(arguments: Namespace) -> dict[str, str]:
    return {
        option.name: getattr(arguments, option.name) for option in OPTIONS if hasattr(arguments, option.name)
    }


def _settings(arguments: Namespace) -> Settings:
    settings = load(flags=_flags(arguments))
    # A line for each call is for whoever runs a server.
    quiet = arguments.command != "serve" and settings.log_level == "INFO"
    log_to_stderr("WARNING" if quiet else settings.log_level)
    return settings


def _run_install(arguments: Namespace) -> int:
    from reflexio_mcp.install.command import Request, run_install, run_uninstall

    names = ("client", "name", "remote", "every_user", "dry_run", "create", "replace", "with_key")
    typed = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    request = Request(flags=_flags(arguments), show=getattr(arguments, "print", False), **typed)
    return run_uninstall(request) if arguments.command == "uninstall" else run_install(request)


def _run_doctor(arguments: Namespace) -> int:
    from reflexio_mcp.doctor.command import run_doctor

    return run_doctor(_flags(arguments), as_json=arguments.json)


def _run_demo(arguments: Namespace) -> int:
    import anyio

    from reflexio_mcp.demo import run_demo

    settings = _settings(arguments)
    return anyio.run(lambda: run_demo(settings, live=arguments.live))


def _run_read(arguments: Namespace) -> int:
    return run_read_command(arguments, _settings(arguments))


def _run_explore(arguments: Namespace) -> int:
    from reflexio_mcp.explore import explore

    return explore(arguments, _settings(arguments))


def _run_delete(arguments: Namespace) -> int:
    from reflexio_mcp.delete_command import run_delete, run_restore

    run = run_restore if arguments.command == "restore" else run_delete
    return run(arguments, _settings(arguments))


def _run_log(arguments: Namespace) -> int:
    from reflexio_mcp.log_command import run_log_command

    return run_log_command(_settings(arguments), arguments.verify)


def _run_tools(arguments: Namespace) -> int:
    from reflexio_mcp.tools.catalog import offered

    for tool in offered(_settings(arguments)):
        sys.stdout.write(f"{tool.name}\n    {tool.description}\n")
    return 0


def _serve(arguments: Namespace) -> int:
    settings = _settings(arguments)
    gc.disable()  # nothing that an import makes is garbage; tune_collector turns it on
    if arguments.transport != "stdio":
        from reflexio_mcp.http import serve as serve_http

        return serve_http(settings)
    if sys.stdin.isatty():
        sys.stderr.write(WAITING)
    from reflexio_mcp.stdio import serve

    return serve(settings)


JSON: Final = {"--json": "print JSON"}
DRY_RUN: Final = {"--dry-run": "show the entry and write nothing"}
PAGE: Final = {"--all": "show all rows"} | JSON

COMMANDS: Final[dict[str, dict[str, Command]]] = {
    "Set up": {
        "install": Command(
            "add this server to an MCP client",
            _run_install,
            "reflexio-mcp install                                list the clients found here\n"
            "reflexio-mcp install cursor --url http://localhost:8061\n"
            "REFLEXIO_API_KEY=... reflexio-mcp install vscode --user-id ada\n"
            "reflexio-mcp install claude-code --remote https://memory.example/mcp",
            add=_client,
            switches=DRY_RUN
            | {
                "--every-user": "show every user's data; if left out: your account is the user",
                "--print": "print the entry to paste",
                "--create": "write the file even if the client was not found",
                "--replace": "overwrite an entry of the same name and drop its settings",
                "--with-key": "refer to REFLEXIO_API_KEY, or with --remote to REFLEXIO_MCP_AUTH_TOKEN, even if it is "
                "not set here",
            },
            settings=LOCAL,
            usage="[CLIENT] ",
        ),
        "uninstall": Command(
            "remove this server from an MCP client",
            _run_install,
            "reflexio-mcp uninstall cursor --dry-run",
            add=_client,
            switches=DRY_RUN,
            usage="[CLIENT] ",
        ),
        "doctor": Command(
            "check this set-up: what is wrong, why, and what to do",
            _run_doctor,
            "reflexio-mcp doctor\nreflexio-mcp doctor --json | jq .next",
            switches=JSON,
            settings=LOCAL,
        ),
        "demo": Command(
            "show a deletion from plan to receipt, on a throw-away store",
            _run_demo,
            "reflexio-mcp demo\nreflexio-mcp demo --live --url http://localhost:8061",
            switches={"--live": "use the configured Reflexio instead of a throw-away store"},
            settings=("url", "user_id", "timeout"),
        ),
    },
    "Look (nothing is changed)": {
        "sessions": Command(
            "list stored sessions",
            _run_read,
            "reflexio-mcp sessions --start-time 7d\nreflexio-mcp sessions --source ci.e2e --json",
            add=_list,
            switches=PAGE,
            settings=WHERE,
        ),
        "requests": Command(
            "list stored requests",
            _run_read,
            "reflexio-mcp requests --session-id trip\nreflexio-mcp requests --contains peanut --all | less",
            add=_list,
            switches=PAGE,
            settings=WHERE,
        ),
        "show": Command(
            "show one stored request in full",
            _run_read,
            "reflexio-mcp show 0b9f3c1e-6f0e-4c53-9a31-0f6d1c8f2a77",
            add=lambda parser: parser.add_argument("request_id", metavar="REQUEST_ID", help=ID),
            switches=JSON,
            settings=WHERE,
            usage="REQUEST_ID ",
        ),
        "learned": Command(
            "list what was learned, and from which requests",
            _run_read,
            "reflexio-mcp learned --user-id ada\nreflexio-mcp learned --session-id trip --all",
            add=_learned,
            switches=PAGE,
            settings=WHERE,
        ),
        "audit": Command(
            "find secrets, duplicates, test traffic and more",
            _run_read,
            "reflexio-mcp audit --start-time 30d",
            add=_audit,
            switches=JSON,
            settings=WHERE,
        ),
        "log": Command(
            "print the audit log: a JSON line before each deletion and one after it",
            _run_log,
            "reflexio-mcp log | jq .outcome\nreflexio-mcp log --verify",
            add=_log,
            settings=WHERE,
        ),
    },
    "Look and delete": {
        "explore": Command(
            "open a page in the browser to look through, select and delete",
            _run_explore,
            "reflexio-mcp explore\nreflexio-mcp explore --start-time 7d --finding probable-secret",
            add=_filter,
            settings=(*WHERE, "read_only"),
        ),
        "delete": Command(
            "delete stored requests: show the plan, ask, and say what is gone",
            _run_delete,
            "reflexio-mcp delete --source ci.e2e --start-time 24h\n"
            "reflexio-mcp delete --source ci.e2e --start-time 1h --yes      in CI, after the tests",
            add=_delete,
            switches={
                "--include-learnings": "also delete what was learned from them, on a Reflexio that learns",
                "--erase": "keep no recovery copy, and remove earlier ones",
                "--everything": "all requests of --user-id, or all that --contains or --finding selects",
                "--yes": "delete without asking",
                "--dry-run": "show the plan and delete nothing",
            },
            settings=(*WHERE, "recovery_days"),
            usage="[REQUEST_ID ...] ",
        ),
        "restore": Command(
            "put back what a deletion removed, from its recovery copy",
            _run_delete,
            "reflexio-mcp restore                                list the deletions that can be undone\n"
            "reflexio-mcp restore 3",
            add=lambda parser: parser.add_argument(
                "deletion",
                nargs="?",
                type=_count,
                metavar="NUMBER",
                help="of the deletion; if left out: list them",
            ),
            switches={"--yes": "restore without asking"},
            settings=WHERE,
            usage="[NUMBER] ",
        ),
    },
    "Serve": {
        "serve": Command(
            "serve MCP; this is also what happens without a command",
            _serve,
            "reflexio-mcp serve --read-only\nreflexio-mcp serve --transport http --port 8765",
            add=_transport,
            settings=[option.name for option in OPTIONS],
        ),
        "tools": Command(
            "list the tools that this configuration offers",
            _run_tools,
            "reflexio-mcp tools --read-only",
            settings=LOCAL,
        ),
    },
}
"""Every command, in the groups that help and documentation show."""
