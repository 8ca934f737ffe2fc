"""The command line."""

import argparse
import logging
import sys
from collections.abc import Sequence

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
    return top


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
        settings = load(flags=flags)
        _log_to_stderr(settings)
        return _run(arguments, settings)
    except ConfigurationError as error:
        sys.stderr.write(f"reflexio-mcp: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130


def _log_to_stderr(settings: Settings) -> None:
    # Before the SDK does: it would add a handler of its own to an unconfigured root.
    logging.basicConfig(
        stream=sys.stderr, level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if settings.log_level != "DEBUG":
        for chatty in ("mcp", "httpx", "httpcore"):
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
        from reflexio_mcp.stdio import serve

        return serve(settings)
    raise ConfigurationError(f"--transport {transport} is not available yet; use stdio.")
