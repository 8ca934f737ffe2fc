"""The command line.

Exit codes, of all commands: 0 done, 1 something failed or was refused, 2 the command line or the configuration is
wrong, 130 Ctrl-C, 141 the reader of the output ended first.
"""

import gc
import os
import re
import sys
import traceback
from argparse import (
    SUPPRESS,
    Action,
    ArgumentParser,
    ArgumentTypeError,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn, cast

from reflexio_mcp import __version__
from reflexio_mcp.logs import log_to_stderr
from reflexio_mcp.rest.api_limits import is_blank
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.settings import OPTIONS, ConfigurationError, Settings, add_flags, load
from reflexio_mcp.traffic.filter_fields import FILTER_FIELDS, SWITCHES

TRANSPORTS: Final = ("stdio", "http", "sse", "streamable-http")

SETTINGS_WITHOUT_HTTP: Final = [option.name for option in OPTIONS if option.group != "http"]

USUAL_SETTINGS: Final = ("url", "store", "timeout", "mask", "policy")
"""Settings that are options of most commands: which memory is used, and how."""

FAILED: Final = 1
WRONG_USE: Final = 2
INTERRUPTED: Final = 130
READER_IS_GONE: Final = 141

CHANGING: Final = ("delete", "correct", "restore", "publish", "import", "state", "install", "uninstall")
"""Commands that may have changed something when they fail."""

WAITING: Final = """\
reflexio-mcp is waiting for an MCP client on standard input. A client starts it by itself; to try it yourself:
  reflexio-mcp install     put it into a client
  reflexio-mcp demo        see a deletion
  reflexio-mcp sessions    list what is stored
  reflexio-mcp --help      everything else
Ctrl-C ends it.
"""

FILTER_HELP: Final = {field.name: field.option_help for field in FILTER_FIELDS}
"""What the help says about each option of the filter."""

FILE_COMPLETION: Final = {
    "bash": "_shtab_compgen_files",
    "zsh": "_files",
    "fish": "(__fish_complete_path (commandline -ct))",
}
"""How each shell completes the name of a file: a copy of `shtab.FILE`, so that only `completion` imports shtab."""

SHELLS: Final = tuple(FILE_COMPLETION)

AddArguments = Callable[[ArgumentParser], object]
"""Adds an argument, or a group of arguments, to a parser."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command, for the parser and the help.

    Args:
        settings: names of the settings that have a flag here.
        usage: what stands before `[OPTIONS]`, followed by a blank.
    """

    about: str
    run: Callable[[Namespace], int]
    examples: str
    arguments: Sequence[AddArguments] = ()
    settings: Collection[str] = USUAL_SETTINGS
    usage: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    _open_closed_streams()
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        # Stored text may have characters that an older terminal lacks. `serve` has its own stream.
        reconfigure(errors="backslashreplace")
    command = ""
    try:
        arguments = parse(argv)
        command = arguments.command
        if command == "serve":
            gc.disable()  # Imports make no garbage. The transports turn collection on again (`tune_collector`).
        code = arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever fails, a person reads a sentence
        return _report_failure(_unwrapped(error), command)
    return code


def _open_closed_streams() -> None:
    """Open streams that the shell has closed, so that no file of ours gets their numbers."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _drop_output() -> None:
    """Discard the rest of the output. Otherwise Python would flush it at exit, fail, and print a traceback."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unwrapped(error: Exception) -> Exception:
    """Return the error that a group consists of: a task group raises even a single error as a group."""
    parts = cast("tuple[Exception, ...]", getattr(error, "exceptions", ()))
    return _unwrapped(parts[0]) if len(parts) == 1 else error


def _report_failure(error: Exception, command: str) -> int:
    """Say in a sentence what failed, unless nobody reads any more, and return the exit code."""
    if isinstance(error, BrokenPipeError):
        _drop_output()
        return READER_IS_GONE
    # These import pydantic, which --help does without.
    from reflexio_mcp.results.base import visible
    from reflexio_mcp.state.keys import WrongKey
    from reflexio_mcp.state.tables import StateUnusable
    from reflexio_mcp.traffic.errors import InvalidInput, TrafficError

    if isinstance(error, (ConfigurationError, TrafficError, ReflexioError, StateUnusable)):
        said = _words_of_known(error, command)
    else:
        said = _words_of_unexpected(error, command)
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
    sys.stderr.write(f"reflexio-mcp: {visible(said)}\n")
    return WRONG_USE if isinstance(error, (ConfigurationError, InvalidInput, WrongKey)) else FAILED


def _words_of_known(error: Exception, command: str) -> str:
    from reflexio_mcp.render.words import SHELL, refusal
    from reflexio_mcp.results.failures import failure_facts
    from reflexio_mcp.state.tables import StateUnusable
    from reflexio_mcp.traffic.errors import InvalidInput, TrafficError, state_facts

    if isinstance(error, StateUnusable):
        return refusal(state_facts(error), SHELL).said
    if isinstance(error, ReflexioError):
        action = "write" if command in CHANGING else "read"
        return refusal(failure_facts(error, action), SHELL).said
    if not isinstance(error, TrafficError):
        return str(error)  # a `ConfigurationError`, which is a sentence
    happened = str(error)
    if isinstance(error, InvalidInput) and error.field in FILTER_HELP:
        happened = f"--{error.field.replace('_', '-')} {error.problem}"
    return refusal([happened, *error.facts], SHELL).said


def _words_of_unexpected(error: Exception, command: str) -> str:
    """Say what the system or this program failed at, without the text of the error: it may repeat what is stored."""
    happened = f"{type(error).__name__} in this program"
    if isinstance(error, OSError) and error.strerror:
        place = f": {error.filename}" if isinstance(error.filename, str) else ""
        happened = f"{error.strerror}{place}"
    sentences = [f"`{command}` failed: {happened}."]
    if command in CHANGING:
        sentences.append("Whether anything was changed is not known: look at what is stored.")
    if os.environ.get("REFLEXIO_MCP_LOG_LEVEL", "").upper() == "DEBUG":
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
        sentences.append(f"It happened at {' > '.join(places)}.")
    else:
        sentences.append("REFLEXIO_MCP_LOG_LEVEL=DEBUG adds the place in the code.")
    return " ".join(sentences)


def parse(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line. Without a command it means `serve`."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        # Most clients start the server this way, and need not wait for all parsers.
        return Namespace(command="serve", transport="stdio", run=_serve, flags={})
    top, commands = build_parser()
    first = words[0]
    if first in ("help", "version"):
        named_command = words[1:2]  # empty for `help` alone
        words = ["--version"] if first == "version" else [*named_command, "--help"]
    elif first not in ("-h", "--help", "--version") and first.startswith("-"):
        words.insert(0, "serve")
    elif not first.startswith("-") and first not in commands:
        top.error(f"there is no command `{first}`{_did_you_mean(first, commands)}")
    if words[0] in commands:
        _refuse_unknown_option(commands[words[0]], words[0], words[1:])
    found, unknown = top.parse_known_args(words)
    if unknown:
        word = unknown[0].partition("=")[0]  # the value may be a key
        parser = commands[found.command]
        if word.startswith("-"):
            parser.error(f"unknown option `{word}`{_did_you_mean(word, parser.options)}")
        put_first = "; put the command first" if word in commands and first.startswith("-") else ""
        parser.error(f"unexpected argument `{word}`{put_first}")
    typed = vars(found).copy()
    found.flags = {option.name: typed[option.name] for option in OPTIONS if option.name in typed}
    found.filter = {
        name.removeprefix("filter_"): value
        for name, value in typed.items()
        if name.startswith("filter_") and value
    }
    return found


def _refuse_unknown_option(parser: "Parser", command: str, words: Sequence[str]) -> None:
    """Refuse the first option that the command does not have.

    argparse would first take the word after it for an argument of the command, and refuse that word.
    """
    for word in words:
        if word == "--":  # only arguments come after it
            return
        name = word.partition("=")[0]  # the value may be a key
        is_option = name.startswith("--") and " " not in word
        if is_option and not parser.takes(name):
            hint = _variable_instead(name, command) or _did_you_mean(name, parser.options)
            parser.error(f"unknown option `{name}`{hint}")


def _variable_instead(flag: str, command: str) -> str:
    """Name the variable of a setting that has no flag in this command; empty for a command that reads no settings."""
    reads_settings = any(group[command].settings for group in COMMANDS.values() if command in group)
    variable = next((option.env for option in OPTIONS if option.flag == flag and option.group != "http"), "")
    return f"; set {variable} instead" if reads_settings and variable else ""


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    import difflib

    similar = difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f"; did you mean `{similar[0]}`?" if similar else ""


class Parser(ArgumentParser):
    @property
    def options(self) -> list[str]:
        """The options as its help spells them."""
        return re.findall(r"(?<![\w-])-{1,2}[a-z][a-z-]*", self.format_help())

    def takes(self, flag: str) -> bool:
        return flag in self.options

    def error(self, message: str) -> NoReturn:
        from reflexio_mcp.results.base import visible  # imports pydantic

        # What was typed may have been pasted, and an escape sequence could do anything to the terminal.
        super().error(visible(message.replace("\n", "\\n")))


def build_parser(*, for_completion: bool = False) -> tuple[Parser, dict[str, Parser]]:
    """Return the parser of everything and those of the commands.

    Args:
        for_completion: whether a shell completes with this parser. It then lists all commands and `version`. The parser
            for `--help` has no such list, because its description names the commands in groups.
    """
    shared: dict[str, Any] = {"formatter_class": RawDescriptionHelpFormatter, "allow_abbrev": False}
    top = Parser(
        prog="reflexio-mcp",
        usage="reflexio-mcp [COMMAND] [OPTIONS]",
        description="An MCP server to inspect, audit and delete what your AI assistant stored in Reflexio.\n"
        "Without a command it serves MCP on standard input and output, to the client that starts it.\n",
        epilog="reflexio-mcp COMMAND --help shows the options of a command. Keys and tokens have no option, because "
        "other users\ncan read a command line: set REFLEXIO_API_KEY.\n\n"
        "Exit codes: 0 done, 1 something failed or was refused, 2 the command line or configuration is wrong, "
        "130 Ctrl-C,\n141 the reader of the output ended first.",
        **shared,
    )
    top.add_argument("--version", action="version", version=f"reflexio-mcp {__version__}")
    subparsers = top.add_subparsers(
        dest="command",
        metavar="COMMAND",
        help="what to do" if for_completion else SUPPRESS,
        parser_class=Parser,
    )
    if for_completion:  # `version` is no command: `parse` replaces it by `--version`
        subparsers.add_parser("version", help="print the version")
    parsers: dict[str, Parser] = {}
    for title, group in COMMANDS.items():
        top.description = f"{top.description}\n{title}:\n"
        for name, command in group.items():
            top.description += f"  {name:12} {command.about}\n"
            parser = parsers[name] = subparsers.add_parser(
                name,
                help=command.about,
                prog=f"reflexio-mcp {name}",
                usage=f"reflexio-mcp {name} {command.usage}[OPTIONS]",
                description=f"{command.about[0].upper()}{command.about[1:]}.",
                epilog="Examples:\n  " + command.examples.replace("\n", "\n  "),
                **shared,
            )
            parser.set_defaults(run=command.run)
            for add in command.arguments:
                add(parser)
            add_flags(parser, [option for option in OPTIONS if option.name in command.settings])
    return top, parsers


# --- arguments ---


def _argument(*names: str, **options: Any) -> AddArguments:
    return lambda parser: parser.add_argument(*names, **options)


def _switch(flag: str, about: str) -> AddArguments:
    return _argument(flag, action="store_true", help=about)


def _text(text: str) -> str:
    if is_blank(text):
        raise ArgumentTypeError("is blank; leave it out instead")
    return text


def _reason(text: str) -> str:
    from reflexio_mcp.results.deletion import MOST_REASON

    if len(text) > MOST_REASON:
        raise ArgumentTypeError(f"takes {MOST_REASON} characters at most")
    return text


def whole_number(text: str) -> int:
    """Parse how many rows are wanted, or the number of a deletion."""
    try:
        number = int(text)
    except ValueError:
        # argparse would show this function's name.
        raise ArgumentTypeError(f"{text!r} is not a whole number") from None
    if not 1 <= number <= 1_000_000:
        raise ArgumentTypeError("takes a whole number from 1 to 1000000")
    return number


class _Said(Action):
    """Collects what `--user` and `--assistant` say, in the order in which they are typed."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        namespace.said = [*(namespace.said or []), (self.const, values)]


def _said_by(flag: str, role: str, about: str) -> AddArguments:
    return _argument(flag, dest="said", action=_Said, const=role, metavar="TEXT", help=about)


def _file(*names: str, **options: Any) -> AddArguments:
    """Add an argument that a shell completes with the names of files."""

    def add(parser: ArgumentParser) -> None:
        action: Any = parser.add_argument(*names, **options)
        action.complete = FILE_COMPLETION

    return add


def _filter(**help_of: str) -> AddArguments:
    """Add fields of the filter as options, each with its help."""

    def add(parser: ArgumentParser) -> None:
        section = parser.add_argument_group("Which requests")
        for name, about in help_of.items():
            given: dict[str, Any] = {"metavar": name.upper(), "type": _text}
            if name in SWITCHES:
                given = {"action": "store_const", "const": SWITCHES[name]}
            section.add_argument(f"--{name.replace('_', '-')}", dest=f"filter_{name}", help=about, **given)

    return add


# --- what the commands do ---


def _settings(arguments: Namespace) -> Settings:
    """Return the settings of a command, and begin to log as they say. Refuse an unusable policy, too."""
    from reflexio_mcp.traffic.policy import policy_at

    settings = load(flags=arguments.flags)
    if arguments.command != "serve" and "store" in arguments.flags and "url" not in arguments.flags:
        _check_one_memory(settings)
    # Only the operator of a server needs a line for each call.
    quiet = arguments.command != "serve" and settings.log_level == "INFO"
    log_to_stderr("WARNING" if quiet else settings.log_level)
    policy_at(settings.policy)  # An unusable policy is an error at startup.
    return settings


def _check_one_memory(settings: Settings) -> None:
    """Refuse a typed --store if a variable names another memory, which the command would use instead."""
    if not settings.embedded:
        variable = "REFLEXIO_URL" if settings.url else "REFLEXIO_API_KEY"
        raise ConfigurationError(
            f"--store names the embedded store, but {variable} is set and names another memory. Unset {variable}, or "
            "add --url to use that one."
        )


def _later(module: str, function: str) -> Callable[[Namespace], int]:
    """Import the module only when its command runs."""

    def run(arguments: Namespace) -> int:
        from reflexio_mcp.traffic.policy import policy_at, use_policy

        settings = _with_stored_ids(arguments, _settings(arguments))
        with use_policy(policy_at(settings.policy)):
            return getattr(import_module(f"reflexio_mcp.{module}"), function)(arguments, settings)

    return run


TYPED_IDS: Final = ("request_id", "request_ids", "session_id", "learning_id", "learning_ids")
"""Arguments of commands that are ids."""


def _with_stored_ids(arguments: Namespace, settings: Settings) -> Settings:
    """Turn typed ids back into the stored ones, also in the settings: what commands show of an id can be copied."""
    from reflexio_mcp.backend import fingerprints_of
    from reflexio_mcp.results.base import stored_id

    fingerprints = fingerprints_of(settings)

    def stored(shown: str) -> str:
        return fingerprints.uncover(stored_id(shown))

    for name in TYPED_IDS:
        typed = getattr(arguments, name, None)
        if isinstance(typed, list):
            setattr(arguments, name, [stored(shown) for shown in cast("list[str]", typed)])
        elif typed:
            setattr(arguments, name, stored(typed))
    for name in ("user_id", "session_id", "request_id"):
        if typed := arguments.filter.get(name):
            arguments.filter[name] = stored(typed)
    return replace(settings, user_id=stored(settings.user_id)) if "user_id" in arguments.flags else settings


def _run_install(arguments: Namespace) -> int:
    from reflexio_mcp.install.command import InstallArguments, run_install, run_uninstall

    names = [field.name for field in fields(InstallArguments)]
    typed = {name: getattr(arguments, name) for name in names if name in arguments}
    run = run_uninstall if arguments.command == "uninstall" else run_install
    return run(InstallArguments(**typed))


def _run_doctor(arguments: Namespace) -> int:
    from reflexio_mcp.doctor.command import run_doctor

    return run_doctor(arguments.flags, as_json=arguments.json)


def _serve(arguments: Namespace) -> int:
    from reflexio_mcp.backend import refuse_wrong_keys
    from reflexio_mcp.tools.catalog import deletes

    settings = _settings(arguments)
    if settings.state or deletes(settings):
        refuse_wrong_keys(settings, starts=True)
    if arguments.transport != "stdio":
        from reflexio_mcp.http import serve as serve_http

        return serve_http(settings)
    if sys.stdin.isatty():
        sys.stderr.write(WAITING)
    from reflexio_mcp.stdio import serve

    return serve(settings)


def _run_state(arguments: Namespace) -> int:
    from reflexio_mcp.state_command import run_state

    return run_state(arguments)


def _complete(arguments: Namespace) -> int:
    import shtab

    top, _ = build_parser(for_completion=True)
    sys.stdout.write(shtab.complete(top, shell=arguments.shell))
    return 0


RUN_READ_COMMAND: Final = _later("read_commands", "run_read_command")

JSON: Final = _switch("--json", "print JSON")
CLIENT_ARGUMENTS: Final = (
    _argument(
        "client",
        nargs="?",
        default="",
        metavar="CLIENT",
        help="the client; if left out, list clients",
    ),
    _argument("--name", default="reflexio", help="name of the entry (default: %(default)s)"),
    _argument("--remote", metavar="URL", help="address of a shared server to connect to"),
    _switch("--dry-run", "show the entry and write nothing"),
    JSON,
)
REASON: Final = _argument(
    "--reason", type=_reason, default="", metavar="TEXT", help="the reason, for the receipt and the audit log"
)
LIST_ARGUMENTS: Final = (
    _argument(
        "--limit",
        type=whole_number,
        default=20,
        metavar="N",
        help="show at most N rows (default: %(default)s)",
    ),
    _switch("--all", "show all rows"),
    JSON,
)

COMMANDS: Final[dict[str, dict[str, Command]]] = {
    "Set up": {
        "install": Command(
            "add this server to an MCP client",
            _run_install,
            "reflexio-mcp install                                list the clients found here\n"
            "reflexio-mcp install cursor --url http://localhost:8061\n"
            "REFLEXIO_API_KEY=... reflexio-mcp install vscode --user-id ada\n"
            "reflexio-mcp install claude-code --remote https://memory.example/mcp",
            (
                *CLIENT_ARGUMENTS,
                _switch(
                    "--every-user",
                    "show every user's data; else only that of --user-id or of your login name",
                ),
                _argument("--print", dest="show", action="store_true", help="print the entry to paste"),
                _switch("--create", "write the file even if the client was not found"),
                _switch("--replace", "overwrite an entry of the same name and drop its settings"),
                _switch(
                    "--with-key",
                    "refer to the variable of the key (with --remote: of the token) even if it is not set here",
                ),
            ),
            settings=SETTINGS_WITHOUT_HTTP,
            usage="[CLIENT] ",
        ),
        "uninstall": Command(
            "remove this server from an MCP client",
            _run_install,
            "reflexio-mcp uninstall cursor --dry-run",
            CLIENT_ARGUMENTS,
            settings=(),
            usage="[CLIENT] ",
        ),
        "doctor": Command(
            "check this set-up: what is wrong, why, and what to do",
            _run_doctor,
            "reflexio-mcp doctor\nreflexio-mcp doctor --json | jq .next",
            [JSON],
            settings=SETTINGS_WITHOUT_HTTP,
        ),
        "demo": Command(
            "show a deletion from plan to receipt, on a throw-away store",
            _later("demo", "run_demo"),
            "reflexio-mcp demo\nreflexio-mcp demo --live --url http://localhost:8061",
            [_switch("--live", "use the configured Reflexio instead of a throw-away store")],
            settings=("url", "user_id", "timeout"),
        ),
        "completion": Command(
            "print a script with which your shell completes commands and options",
            _complete,
            'eval "$(reflexio-mcp completion bash)"          in ~/.bashrc\n'
            'eval "$(reflexio-mcp completion zsh)"           in ~/.zshrc, after compinit\n'
            "reflexio-mcp completion fish > ~/.config/fish/completions/reflexio-mcp.fish",
            [_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")],
            settings=(),
            usage="SHELL ",
        ),
    },
    "Look (nothing is changed)": {
        "sessions": Command(
            "list stored sessions",
            RUN_READ_COMMAND,
            "reflexio-mcp sessions --start-time 7d",
            (_filter(**FILTER_HELP), *LIST_ARGUMENTS),
        ),
        "requests": Command(
            "list stored requests by session, the newest first",
            RUN_READ_COMMAND,
            "reflexio-mcp requests --session-id trip\nreflexio-mcp requests --contains peanut --all | less",
            (_filter(**FILTER_HELP), *LIST_ARGUMENTS),
        ),
        "show": Command(
            "show one stored request in full",
            RUN_READ_COMMAND,
            "reflexio-mcp show 0b9f3c1e-6f0e-4c53-9a31-0f6d1c8f2a77",
            (
                _argument(
                    "request_id",
                    metavar="REQUEST_ID",
                    help="id of the request; put -- before an id that begins with a dash",
                ),
                JSON,
            ),
            usage="REQUEST_ID ",
        ),
        "learned": Command(
            "list what was learned, and from which requests",
            RUN_READ_COMMAND,
            "reflexio-mcp learned --user-id ada\n"
            "reflexio-mcp learned --since 7d\n"
            "reflexio-mcp learned --shared",
            (
                _filter(
                    **FILTER_HELP,
                    request_id="learnings from this request",
                    since="instead, what is new, replaced, corrected, forgotten, deleted and restored since this time",
                ),
                _switch(
                    "--shared",
                    "instead: rules served to everybody; with --user-id: from their playbooks",
                ),
                *LIST_ARGUMENTS,
            ),
        ),
        "audit": Command(
            "find secrets, duplicates, test traffic and more",
            RUN_READ_COMMAND,
            "reflexio-mcp audit --start-time 30d",
            (_filter(**FILTER_HELP | {"finding": "list all places of this finding"}), JSON),
        ),
        "export": Command(
            "write what is remembered to a ZIP file; at a terminal, say first what would be in it, and ask",
            _later("read_commands", "run_export"),
            "reflexio-mcp export --user-id ada --output ada.zip",
            (
                _filter(**FILTER_HELP),
                _argument(
                    "--output",
                    metavar="FILE.zip",
                    required=True,
                    help="a new file that only you can read; it contains secrets",
                ),
                _switch("--redact", "replace what looks like a secret with its kind"),
                _switch("--yes", "write without asking, as without a terminal"),
                JSON,
            ),
        ),
        "report": Command(
            "write what changed in memory since a time: learnings, findings, expiry, deletions",
            _later("report_command", "run_report"),
            "reflexio-mcp report --since last --output report.html      in a timer",
            (
                _argument(
                    "--since",
                    default="last",
                    metavar="TIME",
                    type=_text,
                    help="an age, a time, or last: the end of the last report (the first covers 7 days; default)",
                ),
                _argument(
                    "--output", required=True, metavar="FILE", help="a new file that ends with .html or .json"
                ),
                JSON,
            ),
            usage="--output FILE ",
        ),
        "log": Command(
            "print the audit log: JSON lines about deletions, restores, exports, imports, reports, judgements, "
            "refusals and holds",
            _later("read_commands", "run_log_command"),
            "reflexio-mcp log | jq .outcome\nreflexio-mcp log --verify",
            [
                _argument(
                    "--verify",
                    nargs="?",
                    const="",
                    metavar="CHAIN",
                    help="check that no line was changed or is missing; with CHAIN, a receipt's log value, "
                    "find its line too",
                ),
                JSON,
            ],
        ),
    },
    "Look and delete": {
        "explore": Command(
            "open a page in the browser to look through, select and delete",
            _later("explore", "run_explore"),
            "reflexio-mcp explore\nreflexio-mcp explore --start-time 7d --finding probable-secret",
            [_filter(**FILTER_HELP)],
            settings=(*USUAL_SETTINGS, "read_only"),
        ),
        "delete": Command(
            "delete stored requests: show the plan, ask, and say what was deleted",
            _later("delete_command", "run_delete"),
            "reflexio-mcp delete --source ci.e2e --start-time 24h\n"
            "reflexio-mcp delete --source ci.e2e --start-time 1h --yes      in CI, after the tests\n"
            "reflexio-mcp delete --finding expired --yes     in a timer, for what the policy lets expire",
            (
                _argument(
                    "request_ids",
                    nargs="*",
                    metavar="REQUEST_ID",
                    help="ids instead of a filter; put -- before an id that begins with a dash",
                ),
                _filter(**FILTER_HELP),
                _switch(
                    "--include-learnings", "also delete what was learned from them, if the backend learns"
                ),
                _argument(
                    "--learning",
                    action="append",
                    default=[],
                    dest="learning_ids",
                    metavar="ID",
                    help="with --include-learnings: this learning goes too, whatever the plan says of it; repeatable",
                ),
                _switch("--erase", "keep no recovery copy of them, new or earlier"),
                _switch(
                    "--everything",
                    "needed if the filter is empty or has only --user-id, --contains, --finding (except expired) or "
                    "--evaluation-only",
                ),
                REASON,
                _switch("--yes", "delete without asking"),
                _switch("--dry-run", "show the plan and delete nothing"),
                JSON,
            ),
            settings=(*USUAL_SETTINGS, "recovery_days", "delete_cap"),
            usage="[REQUEST_ID ...] ",
        ),
        "correct": Command(
            "give one learning a new text: show the difference, ask, and say what is stored",
            _later("delete_command", "run_correct"),
            'reflexio-mcp correct profile:b7c1 "Lives at 5 Elm Road" --user-id ada',
            (
                _argument(
                    "learning_id", metavar="LEARNING_ID", help="id of the learning, as `learned` shows it"
                ),
                _argument("content", metavar="TEXT", help="the whole new text"),
                _filter(user_id="the user whose learning it is"),
                _switch("--erase", "keep no copy of the old text, and remove earlier ones"),
                REASON,
                _switch("--yes", "change it without asking"),
                _switch("--dry-run", "show the difference and change nothing"),
                JSON,
            ),
            settings=(*USUAL_SETTINGS, "recovery_days", "delete_cap"),
            usage="LEARNING_ID TEXT ",
        ),
        "receipt": Command(
            "write the receipt of a deletion as JSON and as a page, to hand to the person",
            _later("delete_command", "run_receipt"),
            "reflexio-mcp receipt 3 --output ada          writes ada.json and ada.html",
            (
                _argument("deletion", type=whole_number, metavar="NUMBER", help="number of the deletion"),
                _argument(
                    "--output",
                    required=True,
                    metavar="FILE",
                    help="name of both new files, without an ending",
                ),
                JSON,
            ),
            usage="NUMBER --output FILE ",
        ),
        "restore": Command(
            "put back what a deletion removed, from its recovery copy",
            _later("delete_command", "run_restore"),
            "reflexio-mcp restore                                list the deletions that can be undone\n"
            "reflexio-mcp restore 3",
            (
                _argument(
                    "deletion",
                    nargs="?",
                    type=whole_number,
                    metavar="NUMBER",
                    help="the deletion; if left out: list deletions",
                ),
                _argument("request_ids", nargs="*", metavar="REQUEST_ID", help="only these requests"),
                _switch("--evaluation-only", "never learn from them again"),
                _switch("--yes", "restore without asking"),
                JSON,
            ),
            usage="[NUMBER [REQUEST_ID ...]] ",
        ),
    },
    "Store": {
        "publish": Command(
            "store one request: from a file, from standard input, or as typed",
            _later("publish_command", "run_publish"),
            'reflexio-mcp publish --user-id ada --source chat --user "I moved to Lisbon." --assistant "Noted."\n'
            "reflexio-mcp publish talk.json --user-id ada --session-id trip",
            (
                _file(
                    "file",
                    nargs="?",
                    default="",
                    metavar="FILE",
                    help='a JSON list such as [{"role": "User", "content": "..."}]; - or nothing: standard input',
                ),
                _said_by("--user", "User", "what the person said; may be repeated, also between --assistant"),
                _said_by("--assistant", "Assistant", "what the assistant answered"),
                _argument("--session-id", type=_text, metavar="ID", help="session (default: a new one)"),
                _argument(
                    "--request-id",
                    type=_text,
                    metavar="ID",
                    help="your own id: repeated with the same --session-id, it stores nothing twice",
                ),
                _switch("--evaluation-only", "store it, and never learn from it"),
                _switch("--session-finished", "it is the last of its session: learn now"),
                _switch("--wait", "wait until Reflexio has learned from it"),
                JSON,
            ),
            settings=(
                *USUAL_SETTINGS,
                "user_id",
                "source",
                "agent_version",
                "publish_secrets",
                "wait_timeout",
            ),
            usage="[FILE] ",
        ),
        "import": Command(
            "store the requests of an export again, except those that are still stored",
            _later("delete_command", "run_import"),
            "reflexio-mcp import ada.zip",
            (
                _file("file", metavar="FILE", help="a file that `export` wrote"),
                _switch("--yes", "import without asking"),
                JSON,
            ),
            usage="FILE ",
        ),
    },
    "Serve": {
        "serve": Command(
            "serve MCP; this is also what happens without a command",
            _serve,
            "reflexio-mcp serve --transport http --port 8765",
            [
                _argument(
                    "--transport",
                    choices=TRANSPORTS,
                    default=TRANSPORTS[0],
                    help="how clients connect: stdio, or http for /mcp and /sse (default: %(default)s)",
                )
            ],
            settings=[option.name for option in OPTIONS],
        ),
        "state": Command(
            "make, check or upgrade the tables that replicas share in PostgreSQL (REFLEXIO_MCP_STATE)",
            _run_state,
            "reflexio-mcp state create          with the role that owns the schema\n"
            "reflexio-mcp state upgrade         the same, before servers of a newer version start\n"
            "reflexio-mcp state check           with the servers' role and their keys",
            [
                _argument(
                    "action",
                    choices=("create", "check", "upgrade"),
                    metavar="create|check|upgrade",
                    help="create: make the tables and let the servers' role use them; check: say what is missing; "
                    "upgrade: bring tables of an earlier version up to date, or make them",
                ),
                JSON,
            ],
            settings=(),
            usage="create|check|upgrade ",
        ),
        "tools": Command(
            "list the tools that this configuration offers",
            _later("read_commands", "run_tools"),
            "reflexio-mcp tools --read-only",
            [JSON],
            settings=SETTINGS_WITHOUT_HTTP,
        ),
    },
}
