"""The command line.

Exit codes: 0 all went well, 1 something failed or `doctor` has warnings, 2 the command line or the configuration is
wrong or `doctor` found a failure, 130 Ctrl-C, 141 the program that read the output ended first.
"""

# PYTHON_ARGCOMPLETE_OK

import argparse
import gc
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NoReturn

from reflexio_mcp import __version__
from reflexio_mcp.logs import log_to_stderr
from reflexio_mcp.read_commands import FILTER, run_read_command, wanted
from reflexio_mcp.settings import OPTIONS, ConfigurationError, Settings, add_flags, did_you_mean, load

__all__ = ["main", "parse"]

TRANSPORTS: Final = ("stdio", "http", "sse", "streamable-http")

SHELLS: Final = ("bash", "zsh", "fish", "powershell")

DASHED: Final = "put -- before ids that begin with a dash"
"""Ids are anybody's words: without it, a stored id `--yes` that a pipe brings would be the flag."""

COMMANDS: Final[dict[str, dict[str, str]]] = {
    "Set up": {
        "install": "put this server into an MCP client",
        "uninstall": "take it out again",
        "doctor": "check this set-up: what is wrong, why, and what to do",
        "demo": "show a deletion from plan to receipt, on a throw-away store",
    },
    "Look (nothing is changed)": {
        "sessions": "list stored sessions",
        "requests": "list stored requests",
        "show": "show one stored request in full",
        "learned": "list what was learned, and from which requests",
        "audit": "find secrets, duplicates, test traffic and more",
    },
    "Look and delete": {
        "explore": "open a page in the browser to look through, select and delete",
        "delete": "delete stored requests: shows what would go, asks, and says what is gone",
    },
    "Serve": {
        "serve": "serve MCP; this is also what happens without a command",
        "tools": "list the tools that this configuration offers",
        "completion": "print the completion script of a shell",
    },
}

ARGUMENTS: Final = {
    "install": "[CLIENT] ",
    "uninstall": "[CLIENT] ",
    "show": "REQUEST_ID ",
    "delete": "[REQUEST_ID ...] ",
    "completion": "SHELL ",
}

EXAMPLES: Final = {
    "": "reflexio-mcp install cursor\nreflexio-mcp sessions --contains Lisbon\nreflexio-mcp doctor",
    "install": "reflexio-mcp install                                list the clients found here\n"
    "reflexio-mcp install cursor --url http://localhost:8061\n"
    "REFLEXIO_API_KEY=... reflexio-mcp install vscode --user-id ada\n"
    "reflexio-mcp install claude-code --remote https://memory.example/mcp",
    "uninstall": "reflexio-mcp uninstall cursor --dry-run",
    "doctor": "reflexio-mcp doctor --write\nreflexio-mcp doctor --json | jq .next",
    "demo": "reflexio-mcp demo\nreflexio-mcp demo --live --url http://localhost:8061",
    "sessions": "reflexio-mcp sessions --start-time 7d\nreflexio-mcp sessions --source ci.e2e --json",
    "requests": "reflexio-mcp requests --session-id trip\nreflexio-mcp requests --contains peanut --all | less",
    "show": "reflexio-mcp show 0b9f3c1e-6f0e-4c53-9a31-0f6d1c8f2a77",
    "learned": "reflexio-mcp learned --user-id ada\nreflexio-mcp learned --session-id trip --all",
    "audit": "reflexio-mcp audit --start-time 30d",
    "explore": "reflexio-mcp explore\nreflexio-mcp explore --start-time 7d --finding probable-secret",
    "delete": "reflexio-mcp delete --source ci.e2e --start-time 24h\n"
    "reflexio-mcp delete --source ci.e2e --start-time 1h --yes      in CI, after the tests",
    "serve": "reflexio-mcp serve --read-only\nreflexio-mcp serve --transport http --port 8765",
    "tools": "reflexio-mcp tools --read-only",
    "completion": 'eval "$(reflexio-mcp completion bash)"      in ~/.bashrc',
}

_WAITING: Final = """\
reflexio-mcp is waiting for an MCP client on standard input. A client starts it by itself; to try it yourself:
  {0} install     put it into a client
  {0} demo        see a deletion
  {0} sessions    list what is stored
  {0} --help      everything else
Ctrl-C ends it.
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are two lines that never repeat a value, which may be a secret."""

    examples = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["formatter_class"] = partial(argparse.HelpFormatter, max_help_position=28)
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        message = re.sub(r": ignored explicit argument .*", " takes no value", message)
        message = message.removeprefix("argument ").replace(": expected one argument", " needs a value")
        from reflexio_mcp.install.launch import as_called  # a server that starts needs nothing of it

        more = self.prog.replace("reflexio-mcp", as_called(), 1)
        self.exit(2, f"{self.prog}: {message}{'' if message.endswith('?') else '.'}\nTry: {more} --help\n")

    def format_help(self) -> str:
        text = super().format_help()
        return f"{text}\nExamples:\n{_indented(self.examples)}\n" if self.examples else text


class _Once(argparse.Action):
    """A flag that selects: of two values the first would be dropped without a word."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option_string} takes one value, so it can stand only once")
        setattr(namespace, self.dest, values)


class _TopParser(_Parser):
    """The whole command line: grouped help, `serve` where no command is given, and unknown words led back."""

    commands: dict[str, _Parser]

    def format_help(self) -> str:
        lines = [
            "usage: reflexio-mcp [COMMAND] [OPTIONS]",
            "",
            "An MCP server to inspect, audit and delete what your AI assistant stored in Reflexio.",
            "Without a command it serves MCP on standard input and output, to the client that starts it.",
        ]
        for title, commands in COMMANDS.items():
            lines += ["", f"{title}:", *(f"  {name:12} {about}" for name, about in commands.items())]
        lines += [
            "",
            "None of these stores anything: that is your assistant's part.",
            "For more: reflexio-mcp COMMAND --help. The version: reflexio-mcp --version.",
            "",
            "Exit codes: 0 all went well, 1 something failed, 2 the command line or configuration is wrong.",
            "doctor --help has its own.",
        ]
        return "\n".join([*lines, "", "Examples:", _indented(EXAMPLES[""]), ""])

    def format_usage(self) -> str:
        return "usage: reflexio-mcp [COMMAND] [OPTIONS]\n"


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What was typed. `serve` is meant where no command is given, and unknown words are led back to known ones.

    Args:
        argv: the words after the program's name; the process's own when `None`.

    Raises:
        SystemExit: help was asked for (0), or the words make no sense (2).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    completing = "_ARGCOMPLETE" in os.environ
    if not words and not completing:
        # As most clients start it: they need not wait for the flags of every command.
        return argparse.Namespace(command="serve", transport=TRANSPORTS[0])
    top = _parser()
    if completing:
        import argcomplete

        argcomplete.autocomplete(top)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")):
        words.insert(0, "serve")
    elif words[0] not in top.commands and not words[0].startswith("-"):
        top.error("there is no such command" + did_you_mean(words[0], top.commands))
    found, unknown = top.parse_known_args(words)
    if unknown:
        _refuse(top, found.command, unknown)
    return found


def _refuse(top: _TopParser, name: str, unknown: list[str]) -> NoReturn:
    command = top.commands[name]
    flags = [word.split("=")[0] for word in unknown if word.startswith("-")]
    if not flags:
        later = [word for word in unknown if word in top.commands]
        command.error(
            f"put {later[0]} first, right after reflexio-mcp"
            if later
            else f"{name} takes one client at a time"
            if name in ("install", "uninstall")
            else "there is a word too many"
        )
    flag = flags[0]
    for option in OPTIONS:
        if option.secret and flag == "--" + option.name.replace("_", "-"):
            command.error(
                f"{flag} does not exist, because others can read a command line; set {option.env} instead"
            )
    elsewhere = [one for one, its in top.commands.items() if flag in _flags(its)]
    if elsewhere:
        command.error(f"{name} has no {flag}; it belongs to {', '.join(elsewhere)}")
    # What is near no flag may be a secret, so it is not repeated.
    near = did_you_mean(flag, _flags(command))
    ids = f" ({DASHED})" if name in ("show", "delete") else ""
    command.error(f"there is no {flag}{near}" if near else f"there is an option that it does not have{ids}")


def _flags(command: argparse.ArgumentParser) -> list[str]:
    return re.findall(r"^  (?:-\w, )?(--[a-z-]+)", command.format_help(), re.MULTILINE)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(
                f"takes {', '.join(words[:-1])} or {words[-1]}" + did_you_mean(text, words)
            )
        return text

    return parse


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 1_000_000:
        raise argparse.ArgumentTypeError("takes a whole number from 1 to 1000000")
    return int(text)


def _parser() -> _TopParser:
    """Each command with the flags that it heeds, and no others."""
    top = _TopParser(prog="reflexio-mcp")
    top.add_argument("--version", action="version", version=f"reflexio-mcp {__version__}")
    subparsers = top.add_subparsers(dest="command", parser_class=_Parser)
    top.commands = {}
    for commands in COMMANDS.values():
        for name, about in commands.items():
            command = subparsers.add_parser(name, description=about[0].upper() + about[1:] + ".")
            command.usage = f"reflexio-mcp {name} {ARGUMENTS.get(name, '')}[OPTIONS]"
            command.examples = EXAMPLES[name]
            top.commands[name] = command
    local = [option for option in OPTIONS if option.group != "http"]
    reached = [option for option in OPTIONS if option.name in ("url", "store", "timeout", "mask")]
    for name, command in top.commands.items():
        switch = partial(command.add_argument, action="store_true")
        match name:
            case "install" | "uninstall":
                _add_install_flags(command, install=name == "install")
            case "doctor":
                command.epilog = "Exit codes: 0 nothing is wrong, 1 a warning, 2 a failure."
                switch("--json", dest="as_json", help="as JSON")
                switch("--write", help="also publish, list and delete in a throw-away session")
            case "demo":
                switch("--live", help="on the configured Reflexio instead of a throw-away store")
                add_flags(command, [one for one in OPTIONS if one.name in ("url", "user_id", "timeout")])
            case "show":
                command.add_argument(
                    "request_id", metavar="REQUEST_ID", help=f"its id, as requests lists it; {DASHED}"
                )
            case "completion":
                command.add_argument("shell", metavar="SHELL", type=_one_of(*SHELLS), help=", ".join(SHELLS))
            case "serve":
                command.add_argument(
                    "--transport", type=_one_of(*TRANSPORTS), default=TRANSPORTS[0], metavar="TRANSPORT",
                    help="how clients connect: stdio (the default) or http, for /mcp and /sse",
                )  # fmt: skip
                add_flags(command, OPTIONS)
            case "tools":
                add_flags(command, local)
            case "delete":
                command.add_argument(
                    "request_ids",
                    nargs="*",
                    metavar="REQUEST_ID",
                    help=f"these, in place of a filter; {DASHED}",
                )
                _add_filter(command, name)
                learned = "also delete what was learned from them, on a Reflexio that learns"
                switch("--include-learnings", help=learned)
                switch("--erase", help="keep no recovery copy, and take them out of earlier ones")
                switch("--everything", help="all of --user-id, or all that --contains or --finding selects")
                switch("--yes", help="delete without asking")
                switch("--dry-run", help="show what would go, delete nothing")
                kept = ("recovery_days", "recovery_dir", "audit_log")
                add_flags(command, [*reached, *(one for one in OPTIONS if one.name in kept)])
            case "explore":
                _add_filter(command, name)
                add_flags(command, [*reached, *(one for one in OPTIONS if one.name == "read_only")])
            case _:
                _add_filter(command, name)
        if name in ("install", "doctor"):
            add_flags(command, local)
        if name in COMMANDS["Look (nothing is changed)"]:
            switch("--json", dest="as_json", help="as JSON")
            add_flags(command, reached)
    return top


def _add_install_flags(command: _Parser, *, install: bool) -> None:
    switch = partial(command.add_argument, action="store_true")
    command.add_argument(
        "client", nargs="?", default="", metavar="CLIENT", help="the client; none lists them"
    )
    command.add_argument("--name", default="reflexio", help="name of the entry (default reflexio)")
    switch("--dry-run", help="show the difference, write nothing")
    command.add_argument(
        "--remote",
        metavar="URL",
        help="add a shared server by its address, instead of a program that the client starts"
        if install
        else "the entry is for the shared server at this address",
    )
    if install:
        switch("--print", dest="show", help="print the entry, write nothing")
        switch("--create", help="write the file even where no client was found")
        switch(
            "--replace",
            help="overwrite an entry of the same name, be it another server or an earlier install with its settings",
        )
        switch(
            "--with-key",
            help="refer to REFLEXIO_API_KEY (REFLEXIO_MCP_AUTH_TOKEN with --remote) even though it is not set here",
        )


def _add_filter(command: _Parser, name: str) -> None:
    section = command.add_argument_group("Which requests")
    about = dict(FILTER)
    if name == "audit":
        about.pop("finding")  # an audit looks for all of them
    if name == "learned":
        about |= {"request_id": "what this request fed", "contains": "learnings with all these words"}
    for one, text in about.items():
        flag = "--" + one.replace("_", "-")
        section.add_argument(flag, dest=f"filter_{one}", metavar=one.upper(), action=_Once, help=text)
    if name not in ("audit", "explore", "delete"):
        section.add_argument(
            "--limit", type=_count, default=20, metavar="N", help="show at most N rows (default 20)"
        )
        section.add_argument("--all", dest="everything", action="store_true", help="show all rows")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code, as the module says.
    """
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        # What is stored may have characters that an older terminal has not. Serving has a stream of its own.
        reconfigure(errors="backslashreplace")
    try:
        code = _run(parse(argv))
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


def _run(arguments: argparse.Namespace) -> int:
    flags = {one.name: getattr(arguments, one.name) for one in OPTIONS if hasattr(arguments, one.name)}
    match arguments.command:
        # These two read the configuration themselves: a wrong one is what doctor is for.
        case "doctor":
            from reflexio_mcp.doctor.command import run_doctor

            return run_doctor(flags, write=arguments.write, as_json=arguments.as_json)
        case "install" | "uninstall":
            return _install(arguments, flags)
        case "completion":
            from argcomplete.shell_integration import shellcode

            sys.stdout.write(shellcode(["reflexio-mcp"], shell=arguments.shell) + "\n")
            return 0
        case _:
            settings = load(flags=flags)
            # A line for each call is for whoever runs a server.
            quiet = arguments.command != "serve" and settings.log_level == "INFO"
            log_to_stderr("WARNING" if quiet else settings.log_level)
    match arguments.command:
        case "serve":
            return _serve(arguments.transport, settings)
        case "demo":
            import anyio

            from reflexio_mcp.demo import run_demo

            return anyio.run(lambda: run_demo(settings, live=arguments.live))
        case "tools":
            from reflexio_mcp.tools.catalog import offered

            for tool in offered(settings):
                sys.stdout.write(f"{tool.name}\n    {tool.description}\n")
            return 0
        case "explore":
            from reflexio_mcp.explore import explore

            return explore(settings, wanted(arguments, settings))
        case "delete":
            from reflexio_mcp.delete_command import run_delete_command

            return run_delete_command(arguments, settings)
        case _:
            return run_read_command(arguments, settings)


def _install(arguments: argparse.Namespace, flags: dict[str, str]) -> int:
    from reflexio_mcp.install.command import Request, run_install, run_uninstall

    names = ("client", "name", "dry_run", "show", "create", "with_key", "replace", "remote")
    typed = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    request = Request(flags=flags, **typed)
    if arguments.command == "uninstall":
        return run_uninstall(request)
    return run_install(request)


def _serve(transport: str, settings: Settings) -> int:
    gc.disable()  # nothing that an import makes is garbage; tune_collector turns it on
    if transport == "stdio":
        if settings.tenancy != "off":
            raise ConfigurationError(
                "--tenancy / REFLEXIO_MCP_TENANCY header is for --transport http: on stdio there are no headers."
            )
        if sys.stdin.isatty():
            from reflexio_mcp.install.launch import as_called

            sys.stderr.write(_WAITING.format(as_called()))
        from reflexio_mcp.stdio import serve

        return serve(settings)
    from reflexio_mcp.http import serve as serve_http

    return serve_http(settings)
