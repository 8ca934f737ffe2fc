"""The command line."""

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import Any

from reflexio_mcp import __version__
from reflexio_mcp.settings import OPTIONS, ConfigurationError, Settings, load

__all__ = ["main", "parser"]

TRANSPORTS = ("stdio", "http", "sse", "streamable-http")


def parser() -> argparse.ArgumentParser:
    """The whole command line; each option of `settings.OPTIONS` has its flag."""
    common = argparse.ArgumentParser(add_help=False)
    for option in OPTIONS:
        if option.flag and option.is_switch:
            common.add_argument(
                option.flag, dest=option.name, action="store_const", const="1", default=argparse.SUPPRESS,
                help=f"{option.help} [{option.env}]",
            )  # fmt: skip
        elif option.flag:
            common.add_argument(
                option.flag, dest=option.name, metavar=option.name.upper(), default=argparse.SUPPRESS,
                help=f"{option.help} [{option.env}]",
            )  # fmt: skip
    common.add_argument(
        "--transport",
        choices=TRANSPORTS,
        default=argparse.SUPPRESS,
        help="How clients connect (default stdio).",
    )
    top = argparse.ArgumentParser(
        prog="reflexio-mcp",
        description="MCP server that shows what an assistant has sent to Reflexio and safely takes it back.",
        parents=[common],
    )
    top.add_argument("--version", action="version", version=f"reflexio-mcp {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", parents=[common], help="serve MCP (what happens without a command)")
    demo = commands.add_parser("demo", parents=[common], help="run the main job before your eyes")
    demo.add_argument(
        "--live", action="store_true", help="on the configured Reflexio instead of a throw-away store"
    )
    commands.add_parser("tools", parents=[common], help="list the tools this configuration offers")
    _add_setup_commands(commands, common)
    return top


def _add_setup_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    install = commands.add_parser(
        "install", parents=[common], help="put this server into a client's configuration"
    )
    uninstall = commands.add_parser("uninstall", help="take it out again")
    for command in (install, uninstall):
        command.add_argument(
            "client",
            nargs="?",
            default="",
            metavar="CLIENT",
            help="the client, for example cursor; without one they are named",
        )
        command.add_argument("--name", default="reflexio", help="name of the entry (default reflexio)")
        command.add_argument("--dry-run", action="store_true", help="show the difference, write nothing")
    install.add_argument("--print", dest="show", action="store_true", help="print the entry, write nothing")
    install.add_argument(
        "--create", action="store_true", help="write the file even where no client was found"
    )
    install.add_argument(
        "--replace",
        action="store_true",
        help="write the entry anew, whatever has its name: another server, or settings of an earlier install",
    )
    install.add_argument(
        "--with-key", action="store_true", help="refer to REFLEXIO_API_KEY even though it is not set here"
    )
    doctor = commands.add_parser(
        "doctor", parents=[common], help="say what is wrong with this set-up and what to do about it"
    )
    doctor.add_argument("--json", dest="as_json", action="store_true", help="as JSON")
    doctor.add_argument(
        "--write", action="store_true", help="also publish, list and delete in a throw-away session"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0, 1 for a failure, 2 for a wrong configuration.
    """
    arguments = parser().parse_args(argv)
    flags = {
        option.name: getattr(arguments, option.name) for option in OPTIONS if hasattr(arguments, option.name)
    }
    try:
        if arguments.command in ("install", "uninstall", "doctor"):
            return _set_up(arguments, flags)
        settings = load(flags=flags)
        _log_to_stderr(settings)
        return _run(arguments, settings)
    except ConfigurationError as error:
        sys.stderr.write(f"reflexio-mcp: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130


def _set_up(arguments: argparse.Namespace, flags: dict[str, str]) -> int:
    # These read the configuration themselves: a wrong one is what doctor is for.
    if arguments.command == "doctor":
        from reflexio_mcp.doctor.command import run_doctor

        return run_doctor(flags, write=arguments.write, as_json=arguments.as_json)
    from reflexio_mcp.install.command import Request, run_install, run_uninstall

    if arguments.command == "uninstall":
        return run_uninstall(Request(arguments.client, name=arguments.name, dry_run=arguments.dry_run))
    return run_install(
        Request(
            arguments.client,
            flags,
            name=arguments.name,
            dry_run=arguments.dry_run,
            show=arguments.show,
            create=arguments.create,
            with_key=arguments.with_key,
            replace=arguments.replace,
        )
    )


def _log_to_stderr(settings: Settings) -> None:
    # Before the SDK does: it would add a handler of its own to an unconfigured root.
    from reflexio_mcp.logs import Lines

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(traces=settings.log_level == "DEBUG"))
    logging.basicConfig(level=settings.log_level, handlers=[handler])
    # These two print headers and whole addresses, which can hold what a server echoes, whatever is asked of us.
    for indiscreet in ("httpx", "httpcore"):
        logging.getLogger(indiscreet).setLevel(logging.WARNING)
    if settings.log_level != "DEBUG":
        for chatty in ("mcp", "uvicorn"):
            logging.getLogger(chatty).setLevel(logging.WARNING)


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    match arguments.command:
        case "demo":
            import anyio

            from reflexio_mcp.demo import run_demo

            return anyio.run(lambda: run_demo(live=arguments.live, settings=settings))
        case "tools":
            from reflexio_mcp.tools.catalog import offered

            for tool in offered(settings):
                sys.stdout.write(f"{tool.name}\n    {tool.description}\n")
            return 0
        case _:
            return _serve(getattr(arguments, "transport", "stdio"), settings)


def _serve(transport: str, settings: Settings) -> int:
    if transport == "stdio":
        if settings.tenancy != "off":
            raise ConfigurationError(
                "--tenancy / REFLEXIO_MCP_TENANCY header is for --transport http: on stdio there are no headers."
            )
        from reflexio_mcp.stdio import serve

        return serve(settings)
    from reflexio_mcp.http import serve as serve_http

    return serve_http(settings)
