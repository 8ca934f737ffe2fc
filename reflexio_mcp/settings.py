"""Configuration: each setting is a field of `Settings`.

A setting is an environment variable and, unless it is a secret, a flag. Help, documentation and registry entry are
generated from the fields.
"""

import argparse
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from reflexio_mcp.rest.api_limits import SOURCE_PATTERN, is_blank

__all__ = [
    "HOSTED_URL",
    "OPTIONS",
    "ConfigurationError",
    "Confirm",
    "Settings",
    "is_reference",
    "load",
    "parse_flags",
]

HOSTED_URL: Final = "https://www.reflexio.ai"

Confirm = Literal["auto", "ask", "preview", "off"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Sessions = Literal["auto", "keep", "none"]
PublishSecrets = Literal["warn", "redact", "refuse"]

STATE_KEY_BYTES: Final = 32
"""Minimum length of a state key."""

GROUPS: Final = {
    "reflexio": "Where the data is",
    "behaviour": "What is offered and shown",
    "deletion": "Deletion",
    "http": "HTTP server",
}


class ConfigurationError(ValueError):
    """A setting cannot be used. The message never repeats the value, which may be a misplaced key."""


Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class _Kind:
    """Parses the text of a setting. Calling a kind declares a field of `Settings`."""

    parse: Callable[[str], Any]
    accepts: str
    choices: tuple[str, ...] = ()

    def __call__(
        self,
        group: str,
        default: Value,
        about: str,
        *,
        env: str = "",
        secret: bool = False,
        limits: bool = False,
    ) -> Value:
        for_option = {"kind": self, "help": about, "group": group, "secret": secret, "limits": limits}
        return field(default=default, repr=not secret, metadata={"env": env, "for_option": for_option})


def _parse_switch(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError


def _parse_words(text: str) -> tuple[str, ...]:
    words = tuple(re.findall(r"[^,\s]+", text))
    if not words:
        raise ValueError
    return words


def _parse_tokens(text: str) -> tuple[str, ...]:
    if any(len(entry.split()) > 1 for entry in text.split(",")):
        raise ValueError  # in `USER TOKEN`, the name alone would be a token
    return _parse_words(text)


def _parse_keys(text: str) -> tuple[str, ...]:
    keys = _parse_words(text)
    if min(len(key.encode()) for key in keys) < STATE_KEY_BYTES:
        raise ValueError
    return keys


def _parse_url(text: str) -> str:
    # No user, query or fragment: people paste credentials there, and the URL is shown.
    url = _matching(r"https?://[^\s/@?#]+(/[^\s@?#]*)?")(text.rstrip("/"))
    _ = urlsplit(url).port  # raises for an impossible port or IPv6 address
    return url


def _parse_issuer(text: str) -> str:
    _parse_url(text)
    return text  # Issuers are compared exactly; some end with a slash.


OWN_FILES: Final = ("state.db", "fingerprint.key", "http-token", "installed.json")
"""Names of files in which the server keeps something else than a store."""


def _is_own_file(path: str) -> bool:
    name = Path(path).resolve().name.casefold()
    # SQLite has files of its own beside state.db; each database of the audit log has a file that notes its end.
    return name in OWN_FILES or name.startswith("state.db-") or name.endswith(".end")


def _parse_path(text: str) -> str:
    return text if text == ":memory:" else str(Path(text).expanduser())


def _matching(pattern: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return parse


def _number(type_: type[int] | type[float], low: float, high: float) -> _Kind:
    def parse(text: str) -> float:
        value = type_(text)
        if not low <= value <= high:  # also refuses nan
            raise ValueError
        return value

    return _Kind(parse, f"a {'whole ' if type_ is int else ''}number from {low} to {high}")


def _one_of(literal: object) -> _Kind:
    choices: tuple[str, ...] = get_args(literal)
    lower = [choice.lower() for choice in choices]
    accepts = f"{', '.join(choices[:-1])} or {choices[-1]}"
    return _Kind(lambda text: choices[lower.index(text.lower())], accepts, choices)


_STATE_URL: Final = r"postgres(ql)?://([^\s/?#@]*@)?[^\s/?#@]*(/[^\s/?#@]*)?(\?[^\s@]*)?"
"""The password must be encoded, so that errors show no part of it as a host."""

_text: Final = _Kind(str, "any text")
_switch: Final = _Kind(_parse_switch, "1 or 0")


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration of one process."""

    url: str = _Kind(_parse_url, "an http or https URL without credentials, such as http://localhost:8061")(
        "reflexio",
        "",
        "Address of Reflexio. If not set: the hosted service if there is a key, otherwise the embedded store.",
        env="REFLEXIO_URL",
    )
    api_key: str = _text(
        "reflexio",
        "",
        "API key, sent as a bearer token. The open-source server may need none.",
        env="REFLEXIO_API_KEY",
        secret=True,
    )
    user_id: str = _text(
        "reflexio",
        "",
        "Confine the server to this user. Data of other users can be neither seen nor changed.",
        env="REFLEXIO_USER_ID",
        limits=True,
    )
    store: str = _Kind(_parse_path, "a file path or :memory:")(
        "reflexio", "", "File of the embedded store, or :memory:. If not set: store.db in your data folder."
    )
    timeout: float = _number(float, 1, 600)(
        "reflexio", 30, "Seconds for one call to Reflexio, including retries."
    )
    wait_timeout: float = _number(float, 1, 240)(
        "reflexio",
        45,
        "Seconds that a publish may wait for learning, and that a restore may take. Most clients give up after 60.",
    )
    read_only: bool = _switch("behaviour", False, "Offer only the tools that read.", limits=True)
    tools: tuple[str, ...] = _Kind(_parse_words, "tool names, separated by commas")(
        "behaviour", (), "Offer only these tools.", limits=True
    )
    source: str = _Kind(
        _matching(SOURCE_PATTERN.pattern),
        "lower-case letters, digits and ._:- (128 at most), starting with a letter or digit",
    )("behaviour", "", "Source of requests that are published without a source.")
    agent_version: str = _text(
        "behaviour", "", "Agent version of requests that are published without a version."
    )
    mask: bool = _switch(
        "behaviour", False, "Never show stored content, only sizes and fingerprints.", limits=True
    )
    personal_data: bool = _switch(
        "behaviour",
        True,
        "Leave personal data (payment cards, IBANs, phone numbers and the like) out of audits, with 0 or with "
        "--no-personal-data.",
    )
    publish_secrets: PublishSecrets = _one_of(PublishSecrets)(
        "behaviour",
        "warn",
        "What happens to a published request that contains a secret; an import stores all that it has. warn: it is "
        "stored, and the answer warns. redact: it is stored without the secret. refuse: it is not stored.",
        limits=True,
    )
    log_level: LogLevel = _one_of(LogLevel)(
        "behaviour", "INFO", "Least severe messages that are logged to stderr."
    )
    confirm: Confirm = _one_of(Confirm)(
        "deletion",
        "auto",
        "Who agrees to a deletion. ask: a person, in a form of the client; without forms nothing is deleted. preview: "
        "whoever sends the code of the plan back, such as the assistant. auto: ask if the client has forms, otherwise "
        "preview. off: nobody; deletions run at once.",
        limits=True,
    )
    confirm_above: int = _number(int, 0, 10_000)(
        "deletion",
        25,
        "Above this number of items, or for several users or everything, the person types the number instead of yes.",
        limits=True,
    )
    delete_cap: int = _number(int, 0, 10_000_000)(
        "deletion",
        1000,
        "How many items may be deleted in an hour; 0 is no cap. All "
        "your processes on this computer count together, or all that share REFLEXIO_MCP_STATE. Each person who signs "
        "in or has a token of their own is counted separately.",
        limits=True,
    )
    recovery_days: int = _number(int, 0, 3650)(
        "deletion",
        7,
        "Days to keep a new recovery copy; 0 keeps none. Earlier copies keep their days. A "
        "deletion with erase keeps none, and removes those of the same items.",
        limits=True,
    )
    policy: str = _Kind(_parse_path, "a file path")(
        "deletion",
        "",
        "TOML file that says what nobody may delete (hold) and what "
        "`delete --finding expired` deletes (expire). It is read again within 5 seconds of a change.",
        limits=True,
    )
    host: str = _text("http", "127.0.0.1", "Address that the HTTP server binds.")
    port: int = _number(int, 0, 65535)("http", 8765, "Port of the HTTP server.")
    auth_token: tuple[str, ...] = _Kind(_parse_tokens, "bearer tokens or USER:TOKEN, separated by commas")(
        "http",
        (),
        "Accepted tokens of 16 characters or more; each HTTP caller sends one. Several allow rotation. USER:TOKEN "
        "confines its holder to that user. If not set, and without sign-in: a token is generated and kept in a file.",
        secret=True,
    )
    allowed_hosts: tuple[str, ...] = _Kind(
        _parse_words, "host names, separated by commas; name:* for any port"
    )("http", (), "Host headers that the server answers, besides loopback.")
    allowed_origins: tuple[str, ...] = _Kind(_parse_words, "origins, separated by commas")(
        "http", (), "Browser origins that the server answers, besides loopback."
    )
    unsafe_no_auth: bool = _switch(
        "http",
        False,
        "Answer callers without a bearer token. Use it only behind a proxy that authenticates them.",
    )
    oauth_issuer: str = _Kind(_parse_issuer, "the URL of an OAuth authorization server")(
        "http", "", "People sign in at this authorization server, and each sees their own memory."
    )
    oauth_audience: str = _Kind(
        _parse_url, "the URL at which clients reach this server, such as https://memory.example/mcp"
    )("http", "", "Audience that access tokens must be issued for.")
    oauth_user_claim: str = _text("http", "sub", "Claim of an access token that is the user id.")
    oauth_client_id: str = _text(
        "http",
        "",
        "Client id with which the authorization server is asked about access tokens that are not JWTs.",
    )
    oauth_client_secret: str = _text("http", "", "Secret of the client id.", secret=True)
    state_keys: tuple[str, ...] = _Kind(
        _parse_keys, f"secrets of {STATE_KEY_BYTES} bytes or more, separated by commas"
    )(
        "http",
        (),
        "Secrets that replicas share, the newest first. They encrypt data that one replica writes and another reads.",
        secret=True,
    )
    state: str = _Kind(
        _matching(_STATE_URL),
        "a postgresql:// URL, with its special characters percent-encoded",
    )(
        "http",
        "",
        "PostgreSQL database in which replicas share the hourly cap, deletions, recovery copies and the audit log. "
        "If not set: files on this computer.",
        secret=True,
        limits=True,
    )
    sessions: Sessions = _one_of(Sessions)(
        "http",
        "auto",
        "Sessions at /mcp for clients that speak the protocol of 2025. keep: clients can show forms and are tied to "
        "one process. none: any replica answers, and clients confirm with the code of the plan. auto: none if state "
        "keys are set, otherwise keep.",
    )
    max_in_flight: int = _number(int, 1, 10_000)(
        "http", 64, "Calls of one caller that may run at once. The next call is told to try again."
    )
    max_sessions: int = _number(int, 1, 100_000)(
        "http", 1000, "Sessions at /mcp, and streams at /sse, that may be open at once."
    )
    session_idle: float = _number(float, 1, 604_800)(
        "http", 1800, "Seconds without a request after which a session at /mcp is closed."
    )
    stop_timeout: float = _number(float, 0.1, 600)(
        "http",
        10,
        "Seconds for running calls after SIGTERM. Then callers are told to try again; deletions get up to 60 more.",
    )

    @property
    def embedded(self) -> bool:
        return not self.url and not self.api_key

    @property
    def many_callers(self) -> bool:
        """Whether callers are distinguished, so that each has a share of the limits."""
        return bool(self.oauth_issuer) or any(":" in entry for entry in self.auth_token)

    @property
    def keeps_sessions(self) -> bool:
        """Whether a client of protocol 2025 has a session at `/mcp`, bound to this process."""
        return self.sessions == "keep" or (self.sessions == "auto" and not self.state_keys)

    @property
    def base_url(self) -> str:
        return "" if self.embedded else (self.url or HOSTED_URL)


@dataclass(frozen=True, slots=True)
class Option:
    """A setting.

    Args:
        limits: the setting decides what may be seen, or what happens to stored data. So an empty variable is refused
            instead of counting as not set.
    """

    name: str
    env: str
    default: Any
    kind: _Kind
    help: str
    group: str
    secret: bool
    limits: bool

    @property
    def flag(self) -> str:
        off = "no-" if self.default is True else ""
        return "" if self.secret else f"--{off}{self.name.replace('_', '-')}"

    @property
    def is_switch(self) -> bool:
        return self.kind is _switch

    @property
    def is_path(self) -> bool:
        return self.kind.parse is _parse_path

    @property
    def typed_default(self) -> str:
        """The default as it is typed; empty if only leaving the setting out means the default."""
        if self.is_switch:
            return "1" if self.default else "0"
        return str(self.default) if self.default else ""

    def shown(self, text: str) -> str:
        """Return a value that may be shown; empty for a secret or a refused value."""
        try:
            self.kind.parse(text.strip())
        except ValueError:
            return ""
        return "" if self.secret else text.strip()


_PREFIX: Final = "REFLEXIO_MCP_"

OPTIONS: Final = tuple(
    Option(
        setting.name,
        setting.metadata["env"] or _PREFIX + setting.name.upper(),
        setting.default,
        **setting.metadata["for_option"],
    )
    for setting in fields(Settings)
)

_VARIABLES_OF_REFLEXIO: Final = {
    "REFLEXIO_AGENT_VERSION",
    "REFLEXIO_ALLOWED_ORIGINS",
    "REFLEXIO_DIR",
    "REFLEXIO_LOG_LEVEL",
    "REFLEXIO_STORAGE",
}
"""Variables that resemble ours."""

_REFERENCE: Final = re.compile(
    r"\$\{\{[^{}]+\}\}|\$\{[^{}]+\}|\{env:\w+\}|\$[A-Z_][A-Z0-9_]*|%[A-Z_][A-Z0-9_]*%"
)


def is_reference(text: str) -> bool:
    """Whether a value is an unexpanded reference to another variable."""
    return bool(_REFERENCE.fullmatch(text.strip()))


def load(env: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None) -> Settings:
    """Read the configuration.

    An empty variable counts as not set, because clients expand an unset `${VAR}` to nothing. Refused are an empty
    variable of an option that `limits` what the server may do, a blank value, an empty flag, an unexpanded reference
    and an unknown variable: somebody meant something by each.

    Args:
        flags: option name to text. A flag takes precedence over its variable.
    """
    env = os.environ if env is None else env
    for name in env:
        if env[name]:
            _check_known(name)
    values: dict[str, Any] = {}
    for option in OPTIONS:
        text = _given(option, env, flags or {})
        if text is not None:
            values[option.name] = _value(option, text)
    settings = Settings(**values)
    if settings.store and _is_own_file(settings.store):
        raise ConfigurationError(
            "REFLEXIO_MCP_STORE has the name of a file in which this server keeps its state, its key, its token or a "
            "note, so that file would replace the store. Name another file."
        )
    if settings.state and not settings.state_keys:
        raise ConfigurationError(
            "REFLEXIO_MCP_STATE needs REFLEXIO_MCP_STATE_KEYS: recovery copies in the database are encrypted with them."
        )
    return settings


def _given(option: Option, env: Mapping[str, str], flags: Mapping[str, str]) -> str | None:
    """Return the text of a setting; `None` if it is not set."""
    if option.name in flags:
        return flags[option.name]
    text = env.get(option.env)
    is_ignored = text == "" and not option.limits
    return None if is_ignored else text


def state_url() -> str:
    """Return `REFLEXIO_MCP_STATE` alone: its tables are made without the keys that the servers need."""
    option = next(option for option in OPTIONS if option.name == "state")
    text = _given(option, os.environ, {})
    return "" if text is None else _value(option, text)


def _value(option: Option, text: str) -> Any:
    name = f"{option.flag} / {option.env}" if option.flag else option.env
    accepts = option.kind.accepts
    if is_blank(text):
        raise ConfigurationError(
            f"{name} is blank. It takes {accepts}; for the default, remove the flag or the variable "
            f"(`unset {option.env}`)."
        )
    if is_reference(text):
        raise ConfigurationError(
            f"{name} is a reference, such as ${{env:NAME}}, instead of a value: the client did not fill it in. Set "
            "the variable where the client is started, or write the value itself."
        )
    try:
        return option.kind.parse(text.strip())
    except ValueError:
        raise ConfigurationError(f"{name} takes {accepts}.") from None


def _check_known(variable: str) -> None:
    """Refuse a variable that looks like one of this server and is none. Reflexio has variables of its own."""
    name = variable.strip().upper()
    if not name.startswith("REFLEXIO_"):
        return
    known = {_without_prefix(option.env): option.env for option in OPTIONS}
    if variable in {*known.values(), *_VARIABLES_OF_REFLEXIO}:
        return
    import difflib

    similar = difflib.get_close_matches(_without_prefix(name), known, n=1, cutoff=0.7)
    if similar or name.startswith(_PREFIX):
        advice = f"Did you mean {known[similar[0]]}?" if similar else "Remove it."
        raise ConfigurationError(
            f"{variable!a} is not a variable of this server and would have no effect. {advice}"
        )


def _without_prefix(variable: str) -> str:
    return variable.removeprefix("REFLEXIO_").removeprefix("MCP_")


def add_flags(parser: argparse.ArgumentParser, options: Iterable[Option]) -> None:
    sections: dict[str, Any] = {}
    for option in options:
        if not option.flag:
            continue
        if option.group not in sections:
            sections[option.group] = parser.add_argument_group(GROUPS[option.group])
        about = option.help
        keywords: dict[str, Any] = {"dest": option.name, "default": argparse.SUPPRESS}
        if option.is_switch:
            keywords |= {"action": "store_const", "const": "0" if option.default else "1"}
        else:
            choices = option.kind.choices
            keywords["metavar"] = f"{{{','.join(choices)}}}" if choices else option.name.upper()
            about += f" Default: {option.typed_default}." if option.default else ""
        sections[option.group].add_argument(option.flag, help=f"{about} [{option.env}]", **keywords)


def parse_flags(arguments: Sequence[str]) -> dict[str, str]:
    """Return the settings among the arguments of a server in a client's file; none if they are wrong."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    add_flags(parser, OPTIONS)
    try:
        return vars(parser.parse_known_args(list(arguments))[0])
    except (argparse.ArgumentError, SystemExit):
        return {}
