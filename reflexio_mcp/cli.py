"""The command line.

Exit codes: 0 done, 1 something failed or was refused, 2 the command line or the configuration is wrong (`doctor`: a
failure was found), 130 Ctrl-C, 141 the program that read the output ended first.
"""

# PYTHON_ARGCOMPLETE_OK

import gc
import os
import sys
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from reflexio_mcp import __version__
from reflexio_mcp.logs import log_to_stderr
from reflexio_mcp.read_commands import FILTER, run_read_command, wanted
from reflexio_mcp.settings import OPTIONS, ConfigurationError, Settings, add_flags, load

__all__ = ["COMMANDS", "Command", "build_parser", "main", "parse"]

TRANSPORTS: Final = ("stdio", "http", "sse", "streamable-http")
SHELLS: Final = ("bash", "zsh", "fish", "powershell")

_WAITING: Final = """\
reflexio-mcp is waiting for an MCP client on standard input. A client starts it by itself; to try it yourself:
  reflexio-mcp install     put it into a client
  reflexio-mcp demo        see a deletion
  reflexio-mcp sessions    list what is stored
  reflexio-mcp --help      everything else
Ctrl-C ends it.
"""

_ID: Final = "id of a request, as `requests` lists it; put -- before ids that begin with a dash"


@dataclass(frozen=True, slots=True)
class Command:
    """One command: what it does, its own arguments, and examples, a line each."""

    about: str
    run: Callable[[Namespace], int]
    add: Callable[[ArgumentParser], None]
    examples: str
    arguments: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        # Stored text may have characters that an older terminal lacks. Serving has a stream of its own.
        reconfigure(errors="backslashreplace")
    try:
        arguments = parse(argv)
        code = arguments.run(arguments)
        sys.stdout.flush()
    except ConfigurationError as error:
        sys.stderr.write(f"reflexio-mcp: {error}\n")
        return 2
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
    completing = "_ARGCOMPLETE" in os.environ
    if not words and not completing:
        # Most clients start it like this: they need not wait for the flags of every command.
        return Namespace(command="serve", transport="stdio", run=_serve)
    top, commands = build_parser()
    if completing:
        import argcomplete

        argcomplete.autocomplete(top)
    if words[:1] in (["help"], ["version"]):
        words = ["--version"] if words[0] == "version" else [*words[1:2], "--help"]
    elif words[:1] not in (["-h"], ["--help"], ["--version"]) and (not words or words[0].startswith("-")):
        words.insert(0, "serve")
    found, unknown = top.parse_known_args(words)
    if unknown:
        word = unknown[0].partition("=")[0]
        named = f"unknown option `{word}`" if word.startswith("-") else f"unexpected argument `{word}`"
        secret = {f"--{one.name.replace('_', '-')}": one.env for one in OPTIONS if one.secret}
        if word in secret:
            named += f"; set {secret[word]} instead, because other users can read a command line"
        commands[found.command].error(named)
    return found


def build_parser() -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    """The parser of the whole command line, and those of its commands."""
    overview = "".join(
        f"\n{title}:\n" + "".join(f"  {name:12} {one.about}\n" for name, one in commands.items())
        for title, commands in COMMANDS.items()
    )
    top = ArgumentParser(
        prog="reflexio-mcp",
        usage="reflexio-mcp [COMMAND] [OPTIONS]",
        description="An MCP server to inspect, audit and delete what your AI assistant stored in Reflexio.\n"
        "Without a command it serves MCP on standard input and output, to the client that starts it.\n"
        + overview,
        epilog="reflexio-mcp COMMAND --help shows the options of a command.\n\n"
        "Exit codes: 0 done, 1 something failed or was refused, 2 the command line or configuration is wrong.",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"reflexio-mcp {__version__}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", help=SUPPRESS)
    parsers: dict[str, ArgumentParser] = {}
    for commands in COMMANDS.values():
        for name, command in commands.items():
            parser = parsers[name] = subparsers.add_parser(
                name,
                prog=f"reflexio-mcp {name}",
                usage=f"reflexio-mcp {name} {command.arguments}[OPTIONS]",
                description=f"{command.about[0].upper()}{command.about[1:]}.",
                epilog="Examples:\n  " + command.examples.replace("\n", "\n  "),
                formatter_class=RawDescriptionHelpFormatter,
                allow_abbrev=False,
            )
            parser.set_defaults(run=command.run)
            command.add(parser)
    return top, parsers


# --- the arguments of the commands ---


def _add_settings(parser: ArgumentParser, *names: str) -> None:
    add_flags(parser, [option for option in OPTIONS if option.name in names])


def _add_reached(parser: ArgumentParser, *more: str) -> None:
    """The settings that decide what a command looks at and shows."""
    _add_settings(parser, "url", "store", "timeout", "mask", *more)


def _add_local(parser: ArgumentParser) -> None:
    """Every setting that a server without HTTP has."""
    add_flags(parser, [option for option in OPTIONS if option.group != "http"])


def _add_client(parser: ArgumentParser) -> None:
    parser.add_argument(
        "client", nargs="?", default="", metavar="CLIENT", help="if left out: list the clients"
    )
    parser.add_argument("--name", default="reflexio", help="name of the entry (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="show the entry and write nothing")
    parser.add_argument(
        "--remote", metavar="URL", help="address of a shared server, for an entry that reaches it"
    )


def _add_install(parser: ArgumentParser) -> None:
    _add_client(parser)
    parser.add_argument(
        "--every-user",
        action="store_true",
        help="show every user's data; if left out: your account is the user",
    )
    parser.add_argument("--print", dest="show", action="store_true", help="print the entry to paste")
    parser.add_argument(
        "--create", action="store_true", help="write the file even if the client was not found"
    )
    parser.add_argument(
        "--replace", action="store_true", help="overwrite an entry of the same name and drop its settings"
    )
    parser.add_argument(
        "--with-key",
        action="store_true",
        help="refer to REFLEXIO_API_KEY (with --remote: REFLEXIO_MCP_AUTH_TOKEN) even if it is not set here",
    )
    _add_local(parser)


def _add_doctor(parser: ArgumentParser) -> None:
    parser.add_argument("--json", dest="as_json", action="store_true", help="print JSON")
    _add_local(parser)


def _add_demo(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--live", action="store_true", help="use the configured Reflexio instead of a throw-away store"
    )
    _add_settings(parser, "url", "user_id", "timeout")


def _add_filter(parser: ArgumentParser, *left_out: str, **other_help: str) -> None:
    section = parser.add_argument_group("Which requests")
    for name, about in (FILTER | other_help).items():
        if name not in left_out:
            section.add_argument(
                f"--{name.replace('_', '-')}", dest=f"filter_{name}", metavar=name.upper(), help=about
            )


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 1_000_000:
        raise ArgumentTypeError("takes a whole number from 1 to 1000000")
    return int(text)


def _add_list(parser: ArgumentParser, **other_help: str) -> None:
    _add_filter(parser, **other_help)
    parser.add_argument(
        "--limit", type=_count, default=20, metavar="N", help="show at most N rows (default: %(default)s)"
    )
    parser.add_argument("--all", dest="everything", action="store_true", help="show all rows")
    _add_output(parser)


def _add_output(parser: ArgumentParser) -> None:
    parser.add_argument("--json", dest="as_json", action="store_true", help="print JSON")
    _add_reached(parser)


def _add_show(parser: ArgumentParser) -> None:
    parser.add_argument("request_id", metavar="REQUEST_ID", help=_ID)
    _add_output(parser)


def _add_learned(parser: ArgumentParser) -> None:
    _add_list(parser, request_id="learned from this request", contains="learnings with all these words")


def _add_audit(parser: ArgumentParser) -> None:
    _add_filter(parser, "finding")  # an audit looks for every finding
    _add_output(parser)


def _add_explore(parser: ArgumentParser) -> None:
    _add_filter(parser)
    _add_reached(parser, "read_only")


def _add_delete(parser: ArgumentParser) -> None:
    parser.add_argument("request_ids", nargs="*", metavar="REQUEST_ID", help=f"instead of a filter: {_ID}")
    _add_filter(parser)
    for flag, about in {
        "--include-learnings": "also delete what was learned from them, on a Reflexio that learns",
        "--erase": "keep no recovery copy, and remove earlier ones",
        "--everything": "all requests of --user-id, or all that --contains or --finding selects",
        "--yes": "delete without asking",
        "--dry-run": "show the plan and delete nothing",
    }.items():
        parser.add_argument(flag, action="store_true", help=about)
    _add_reached(parser, "recovery_days", "recovery_dir", "audit_log")


def _add_serve(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--transport",
        choices=TRANSPORTS,
        default=TRANSPORTS[0],
        help="how clients connect: stdio, or http for /mcp and /sse (default: %(default)s)",
    )
    add_flags(parser, OPTIONS)


def _add_completion(parser: ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))


# --- what the commands do: each imports what it needs when it runs, so that no other command waits for it ---


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


def _install(arguments: Namespace) -> int:
    from reflexio_mcp.install.command import Request, run_install, run_uninstall

    names = ("client", "name", "every_user", "dry_run", "show", "create", "with_key", "replace", "remote")
    typed = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    request = Request(flags=_flags(arguments), **typed)
    return run_uninstall(request) if arguments.command == "uninstall" else run_install(request)


def _doctor(arguments: Namespace) -> int:
    from reflexio_mcp.doctor.command import run_doctor

    return run_doctor(_flags(arguments), as_json=arguments.as_json)


def _demo(arguments: Namespace) -> int:
    import anyio

    from reflexio_mcp.demo import run_demo

    settings = _settings(arguments)
    return anyio.run(lambda: run_demo(settings, live=arguments.live))


def _read(arguments: Namespace) -> int:
    return run_read_command(arguments, _settings(arguments))


def _explore(arguments: Namespace) -> int:
    from reflexio_mcp.explore import explore

    settings = _settings(arguments)
    return explore(settings, wanted(arguments, settings))


def _delete(arguments: Namespace) -> int:
    from reflexio_mcp.delete_command import run_delete_command

    return run_delete_command(arguments, _settings(arguments))


def _tools(arguments: Namespace) -> int:
    from reflexio_mcp.tools.catalog import offered

    for tool in offered(_settings(arguments)):
        sys.stdout.write(f"{tool.name}\n    {tool.description}\n")
    return 0


def _completion(arguments: Namespace) -> int:
    from argcomplete.shell_integration import shellcode

    sys.stdout.write(shellcode(["reflexio-mcp"], shell=arguments.shell) + "\n")
    return 0


def _serve(arguments: Namespace) -> int:
    settings = _settings(arguments)
    gc.disable()  # nothing that an import makes is garbage; tune_collector turns it on
    if arguments.transport != "stdio":
        from reflexio_mcp.http import serve as serve_http

        return serve_http(settings)
    if sys.stdin.isatty():
        sys.stderr.write(_WAITING)
    from reflexio_mcp.stdio import serve

    return serve(settings)


COMMANDS: Final[dict[str, dict[str, Command]]] = {
    "Set up": {
        "install": Command(
            "add this server to an MCP client",
            _install,
            _add_install,
            "reflexio-mcp install                                list the clients found here\n"
            "reflexio-mcp install cursor --url http://localhost:8061\n"
            "REFLEXIO_API_KEY=... reflexio-mcp install vscode --user-id ada\n"
            "reflexio-mcp install claude-code --remote https://memory.example/mcp",
            "[CLIENT] ",
        ),
        "uninstall": Command(
            "remove this server from an MCP client",
            _install,
            _add_client,
            "reflexio-mcp uninstall cursor --dry-run",
            "[CLIENT] ",
        ),
        "doctor": Command(
            "check this set-up: what is wrong, why, and what to do",
            _doctor,
            _add_doctor,
            "reflexio-mcp doctor\nreflexio-mcp doctor --json | jq .next",
        ),
        "demo": Command(
            "show a deletion from plan to receipt, on a throw-away store",
            _demo,
            _add_demo,
            "reflexio-mcp demo\nreflexio-mcp demo --live --url http://localhost:8061",
        ),
    },
    "Look (nothing is changed)": {
        "sessions": Command(
            "list stored sessions",
            _read,
            _add_list,
            "reflexio-mcp sessions --start-time 7d\nreflexio-mcp sessions --source ci.e2e --json",
        ),
        "requests": Command(
            "list stored requests",
            _read,
            _add_list,
            "reflexio-mcp requests --session-id trip\nreflexio-mcp requests --contains peanut --all | less",
        ),
        "show": Command(
            "show one stored request in full",
            _read,
            _add_show,
            "reflexio-mcp show 0b9f3c1e-6f0e-4c53-9a31-0f6d1c8f2a77",
            "REQUEST_ID ",
        ),
        "learned": Command(
            "list what was learned, and from which requests",
            _read,
            _add_learned,
            "reflexio-mcp learned --user-id ada\nreflexio-mcp learned --session-id trip --all",
        ),
        "audit": Command(
            "find secrets, duplicates, test traffic and more",
            _read,
            _add_audit,
            "reflexio-mcp audit --start-time 30d",
        ),
    },
    "Look and delete": {
        "explore": Command(
            "open a page in the browser to look through, select and delete",
            _explore,
            _add_explore,
            "reflexio-mcp explore\nreflexio-mcp explore --start-time 7d --finding probable-secret",
        ),
        "delete": Command(
            "delete stored requests: show the plan, ask, and say what is gone",
            _delete,
            _add_delete,
            "reflexio-mcp delete --source ci.e2e --start-time 24h\n"
            "reflexio-mcp delete --source ci.e2e --start-time 1h --yes      in CI, after the tests",
            "[REQUEST_ID ...] ",
        ),
    },
    "Serve": {
        "serve": Command(
            "serve MCP; this is also what happens without a command",
            _serve,
            _add_serve,
            "reflexio-mcp serve --read-only\nreflexio-mcp serve --transport http --port 8765",
        ),
        "tools": Command(
            "list the tools that this configuration offers",
            _tools,
            _add_local,
            "reflexio-mcp tools --read-only",
        ),
        "completion": Command(
            "print the completion script of a shell",
            _completion,
            _add_completion,
            'eval "$(reflexio-mcp completion bash)"      in ~/.bashrc',
            "SHELL ",
        ),
    },
}
"""Every command with the arguments that it uses, in the groups that help and documentation show."""
