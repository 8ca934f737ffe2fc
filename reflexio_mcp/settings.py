"""Configuration: one table of options, read from the environment and the command line.

Each option has a variable and, unless it is a secret, a flag of the same name. The documentation, the registry
entry and the bundle manifest are generated from this table too.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import argparse

__all__ = [
    "GROUPS",
    "LIMITS",
    "OPTIONS",
    "ConfigurationError",
    "Option",
    "Settings",
    "add_flags",
    "did_you_mean",
    "is_reference",
    "load",
    "nearest",
    "parse_flags",
    "stops",
    "unread",
]

HOSTED_URL: Final = "https://www.reflexio.ai"

Confirm = Literal["auto", "ask", "preview", "off"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Tenancy = Literal["off", "header"]
Sessions = Literal["auto", "keep", "none"]
PublishSecrets = Literal["warn", "redact", "refuse"]

N = TypeVar("N", int, float)

STATE_KEY_BYTES: Final = 32
"""The least a state key may hold: the SDK derives an AES-256 key from it."""


class ConfigurationError(ValueError):
    """A value that stops the start.

    Its text names the flag and the variable, and never repeats the value, which may be a key in the wrong place.
    """


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the operator decided. Immutable; made by `load`.

    `timeout` and `wait_timeout` are seconds, `confirm_above` counts requests, `delete_cap` all that is deleted (per
    hour, 0 is none), `recovery_days` is days (0 keeps no copies). Of the HTTP server, `max_in_flight` counts calls of
    one caller, `max_callers` clients of the API kept open; `session_idle`, `slow_client` and `stop_timeout` are
    seconds.
    """

    url: str = ""
    api_key: str = ""
    user_id: str = ""
    store: str = ""
    read_only: bool = False
    tools: tuple[str, ...] = ()
    confirm: Confirm = "auto"
    confirm_above: int = 25
    delete_cap: int = 1000
    source: str = ""
    agent_version: str = ""
    timeout: float = 30.0
    wait_timeout: float = 45.0
    mask: bool = False
    personal_data: bool = True
    publish_secrets: PublishSecrets = "warn"
    audit_log: str = ""
    recovery_days: int = 0
    recovery_dir: str = ""
    log_level: LogLevel = "INFO"
    host: str = "127.0.0.1"
    port: int = 8765
    auth_token: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    unsafe_no_auth: bool = False
    tenancy: Tenancy = "off"
    oauth_issuer: str = ""
    oauth_audience: str = ""
    oauth_user_claim: str = "sub"
    oauth_client_id: str = ""
    oauth_client_secret: str = ""
    state: str = ""
    state_keys: tuple[str, ...] = ()
    sessions: Sessions = "auto"
    max_in_flight: int = 64
    max_callers: int = 256
    max_sessions: int = 1000
    session_idle: float = 1800.0
    slow_client: float = 15.0
    stop_timeout: float = 10.0

    @property
    def embedded(self) -> bool:
        """Whether the embedded store is the backend: neither a URL nor a key is set, and callers bring none."""
        return not self.url and not self.api_key and self.tenancy == "off"

    @property
    def many_callers(self) -> bool:
        """Whether callers are told apart, so that none may have all of what is limited."""
        return self.tenancy != "off" or bool(self.oauth_issuer)

    @property
    def keeps_sessions(self) -> bool:
        """Whether `/mcp` keeps a session for a client of 2025, which then has to come back to this process."""
        return self.sessions == "keep" or (self.sessions == "auto" and not self.state_keys)

    @property
    def base_url(self) -> str:
        """Where the API is. Empty for the embedded store."""
        return "" if self.embedded else (self.url or HOSTED_URL)

    def __repr__(self) -> str:
        secret = {option.name for option in OPTIONS if option.secret}
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        shown = (
            f"{name}={'***' if name in secret and value else repr(value)}" for name, value in values.items()
        )
        return f"Settings({', '.join(shown)})"


@dataclass(frozen=True, slots=True)
class Option:
    """One row of the table.

    `name` is the field of `Settings`, `env` the variable, `parse` turns its text into the value (raising
    `ValueError`), `accepts` says in words what it takes, `group` is a key of `GROUPS`.
    """

    name: str
    env: str
    parse: Callable[[str], Any]
    accepts: str
    help: str
    group: Literal["reflexio", "behaviour", "deletion", "http"] = "behaviour"
    secret: bool = False

    @property
    def flag(self) -> str:
        """The flag of the same name, with `no` before it where it turns off what is on; empty for a secret, which never
        comes from argv."""
        off = "no-" if self.is_on else ""
        return "" if self.secret else f"--{off}{self.name.replace('_', '-')}"

    @property
    def is_switch(self) -> bool:
        return self.parse is _switch

    @property
    def is_on(self) -> bool:
        """Whether it is a switch that is on by default."""
        return self.is_switch and getattr(Settings(), self.name)

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it takes, where it takes nothing else."""
        words = self.accepts.replace(" or ", ", ").split(", ")
        return tuple(words) if len(words) > 1 and all(word.isalpha() for word in words) else ()

    @property
    def is_path(self) -> bool:
        return self.parse is _path

    def shown(self, text: str) -> str:
        """A value as it may be shown; empty for a secret, and for what is refused, which may be a misplaced key."""
        if self.secret:
            return ""
        try:
            self.parse(text)
        except ValueError:
            return ""
        return text.strip()


GROUPS: Final = {
    "reflexio": "Where the data is",
    "behaviour": "What is offered and shown",
    "deletion": "Deletion",
    "http": "HTTP server",
}
"""The groups of options, in the order in which help and documentation show them."""

_ON = {"1", "true", "yes", "on"}
_OFF = {"0", "false", "no", "off"}


def _switch(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered not in _ON | _OFF:
        raise ValueError
    return lowered in _ON


def _text(text: str) -> str:
    return text.strip()


def _words(text: str) -> tuple[str, ...]:
    words = tuple(word for word in re.split(r"[,\s]+", text.strip()) if word)
    if not words:
        raise ValueError
    return words


def _state_keys(text: str) -> tuple[str, ...]:
    keys = tuple(key for part in text.split(",") if (key := part.strip()))
    if not keys or any(len(key.encode()) < STATE_KEY_BYTES for key in keys):
        raise ValueError
    return keys


def _url(text: str) -> str:
    url = text.strip().rstrip("/")
    # No user, query or fragment: those are where credentials are pasted, and the URL is shown.
    if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", url):
        raise ValueError
    _ = urlsplit(url).port  # raises for a port or an IPv6 address that cannot be one
    return url


def _issuer(text: str) -> str:
    _url(text)
    return text.strip()  # a name, compared as it stands; some end with a slash


_HOST_AND_PORT: Final = r"(\[[^\s\]/?#@]*\]|[^\s/?#@:,\[\]]*)(:\d*)?"
_STATE_URL: Final = re.compile(
    rf"postgres(ql)?://([^\s/?#@]*@)?{_HOST_AND_PORT}(,{_HOST_AND_PORT})*(/[^\s?#/@]*)?(\?\S*)?"
)
"""A URL in which no sign of a password that should be encoded is taken for the end of the host or the port."""


def _state(text: str) -> str:
    url = text.strip()
    if not _STATE_URL.fullmatch(url):
        raise ValueError
    return url


def _one_of(*words: str, upper: bool = False) -> Callable[[str], str]:
    def parse(text: str) -> str:
        word = text.strip().upper() if upper else text.strip().lower()
        if word not in words:
            raise ValueError
        return word

    return parse


def _number(kind: Callable[[str], N], low: N, high: N) -> Callable[[str], N]:
    def parse(text: str) -> N:
        number = kind(text.strip())
        if not low <= number <= high:  # also refuses nan
            raise ValueError
        return number

    return parse


def _source(text: str) -> str:
    from reflexio_mcp.rest.api_limits import SOURCE_PATTERN

    source = text.strip()
    if not SOURCE_PATTERN.fullmatch(source):
        raise ValueError
    return source


def _path(text: str) -> str:
    text = text.strip()
    return text if text in ("", ":memory:") else str(Path(text).expanduser())


OPTIONS: Final[tuple[Option, ...]] = (
    Option("url", "REFLEXIO_URL", _url, "an http or https URL without credentials, such as http://localhost:8061",
           "Where Reflexio is. If not set: the hosted service where there is a key, else the embedded store.",
           "reflexio"),
    Option("api_key", "REFLEXIO_API_KEY", _text, "a Reflexio API key",
           "The key, sent as a bearer token. The open-source server ignores it.", "reflexio", secret=True),
    Option("user_id", "REFLEXIO_USER_ID", _text, "a user id",
           "Confine the server to this user; others' data can be neither seen nor changed.", "reflexio"),
    Option("store", "REFLEXIO_MCP_STORE", _path, "a file path or :memory:",
           "The embedded store's file, or :memory:. Default: store.db in your data folder.", "reflexio"),
    Option("read_only", "REFLEXIO_MCP_READ_ONLY", _switch, "1 or 0",
           "Offer only the tools that read."),
    Option("tools", "REFLEXIO_MCP_TOOLS", _words, "tool names, comma-separated",
           "Offer only these tools; no other can be called."),
    Option("confirm", "REFLEXIO_MCP_CONFIRM", _one_of("auto", "ask", "preview", "off"),
           "auto, ask, preview or off",
           "Who agrees to a deletion. ask: a person, in the client's form; without forms nothing is deleted. preview: "
           "whoever sends the plan's code back, such as the assistant. auto: ask where the client shows forms, else "
           "preview. off: nobody; deletions run at once.",
           "deletion"),
    Option("confirm_above", "REFLEXIO_MCP_CONFIRM_ABOVE", _number(int, 0, 10_000), "a whole number from 0 to 10000",
           "Above this many requests the person types the number instead of answering yes.", "deletion"),
    Option("delete_cap", "REFLEXIO_MCP_DELETE_CAP", _number(int, 0, 10_000_000), "a whole number; 0 is no cap",
           "How many requests, messages, learnings and session outcomes may be deleted in an hour, by all processes of "
           "your account on this computer together, or by all that share REFLEXIO_MCP_STATE. Each person who signs in "
           "and each key that callers bring counts alone.", "deletion"),
    Option("source", "REFLEXIO_MCP_SOURCE", _source,
           "lower-case letters, digits and ._:- (128 at most), starting with a letter or digit",
           "The source of requests that are published without one."),
    Option("agent_version", "REFLEXIO_MCP_AGENT_VERSION", _text, "a version text",
           "The agent version of requests that are published without one."),
    Option("timeout", "REFLEXIO_MCP_TIMEOUT", _number(float, 1, 600), "seconds from 1 to 600",
           "Seconds that one call to Reflexio may take, retries included.", "reflexio"),
    Option("wait_timeout", "REFLEXIO_MCP_WAIT_TIMEOUT", _number(float, 1, 240), "seconds from 1 to 240",
           "Seconds that a publish with wait_for_response waits for learning; most clients give up at 60.", "reflexio"),
    Option("mask", "REFLEXIO_MCP_MASK", _switch, "1 or 0",
           "Never show stored content, only sizes and fingerprints."),
    Option("personal_data", "REFLEXIO_MCP_PERSONAL_DATA", _switch, "1 or 0",
           "Look for personal data in audit_traffic: cards, IBANs, phone numbers and the like. The flag, or 0, turns "
           "it off."),
    Option("publish_secrets", "REFLEXIO_MCP_PUBLISH_SECRETS", _one_of("warn", "redact", "refuse"),
           "warn, redact or refuse",
           "Secrets in what is published. warn: stored, and the answer says so. redact: replaced. refuse: not stored. "
           "Where keys cannot be looked for, redact and refuse store nothing."),
    Option("audit_log", "REFLEXIO_MCP_AUDIT_LOG", _path, "a file path",
           "Append a JSON line to this file before each deletion and one after it. With REFLEXIO_MCP_STATE "
           "leave it out: the database has the log.", "deletion"),
    Option("recovery_days", "REFLEXIO_MCP_RECOVERY_DAYS", _number(int, 0, 3650),
           "a whole number of days, 3650 at most; 0 keeps none",
           "Keep a copy of what is deleted for this many days, for restore_requests. A deletion with erase keeps none, "
           "and takes what it deletes out of earlier ones of the same requests and learnings.", "deletion"),
    Option("recovery_dir", "REFLEXIO_MCP_RECOVERY_DIR", _path, "a folder path",
           "Folder of the recovery copies. Default: recovery in your data folder. With REFLEXIO_MCP_STATE leave it "
           "out: the database has the copies.", "deletion"),
    Option("log_level", "REFLEXIO_MCP_LOG_LEVEL", _one_of("DEBUG", "INFO", "WARNING", "ERROR", upper=True),
           "DEBUG, INFO, WARNING or ERROR", "How much is logged to stderr."),
    Option("host", "REFLEXIO_MCP_HOST", _text, "an address to bind", "Address that the HTTP server binds.", "http"),
    Option("port", "REFLEXIO_MCP_PORT", _number(int, 0, 65535), "a port number", "Port of the HTTP server.", "http"),
    Option("auth_token", "REFLEXIO_MCP_AUTH_TOKEN", _words, "bearer tokens, comma-separated",
           "Tokens that HTTP callers must send; several allow rotation. Unset: one is generated and kept in a file.",
           "http", secret=True),
    Option("allowed_hosts", "REFLEXIO_MCP_ALLOWED_HOSTS", _words, "host names, comma-separated; name:* for any port",
           "Host headers that are answered, besides loopback.", "http"),
    Option("allowed_origins", "REFLEXIO_MCP_ALLOWED_ORIGINS", _words, "origins, comma-separated",
           "Browser origins that are answered, besides loopback.", "http"),
    Option("unsafe_no_auth", "REFLEXIO_MCP_UNSAFE_NO_AUTH", _switch, "1 or 0",
           "Answer callers without a bearer token. Use it only behind a proxy that authenticates them.", "http"),
    Option("tenancy", "REFLEXIO_MCP_TENANCY", _one_of("off", "header"), "off or header",
           "Whose key is used. off: the configured one, for every caller. header: the caller's own, sent in "
           "X-Reflexio-API-Key; X-Reflexio-User-Id may confine it to a user.", "http"),
    Option("oauth_issuer", "REFLEXIO_MCP_OAUTH_ISSUER", _issuer, "the URL of an OAuth authorization server",
           "People sign in at this authorization server, and each sees their own memory.", "http"),
    Option("oauth_audience", "REFLEXIO_MCP_OAUTH_AUDIENCE", _url,
           "the URL at which clients reach this server, such as https://memory.example/mcp",
           "What access tokens must be issued for.", "http"),
    Option("oauth_user_claim", "REFLEXIO_MCP_OAUTH_USER_CLAIM", _text, "the name of a claim",
           "Which claim of an access token is the user id. Default: sub.", "http"),
    Option("oauth_client_id", "REFLEXIO_MCP_OAUTH_CLIENT_ID", _text, "a client id",
           "With its secret: access tokens that are not JWTs are checked by asking the authorization server.", "http"),
    Option("oauth_client_secret", "REFLEXIO_MCP_OAUTH_CLIENT_SECRET", _text, "a client secret",
           "The secret of that client.", "http", secret=True),
    Option("state_keys", "REFLEXIO_MCP_STATE_KEYS", _state_keys, f"secrets of {STATE_KEY_BYTES} bytes or more, "
           "comma-separated",
           "Secrets that replicas share, the newest first. They seal what one replica begins and another finishes.",
           "http", secret=True),
    Option("state", "REFLEXIO_MCP_STATE", _state, "a postgresql:// URL, with its special characters percent-encoded",
           "The PostgreSQL database in which replicas share the hourly cap, deletions, recovery copies and the audit "
           "log. Unset: files of this machine.", "http", secret=True),
    Option("sessions", "REFLEXIO_MCP_SESSIONS", _one_of("auto", "keep", "none"), "auto, keep or none",
           "Sessions at /mcp for clients that speak the protocol of 2025. keep: they can show forms and are tied to "
           "one process. none: any replica answers, and they confirm with the plan's code. auto: none where state keys "
           "are set, else keep.",
           "http"),
    Option("max_in_flight", "REFLEXIO_MCP_MAX_IN_FLIGHT", _number(int, 1, 10_000), "a whole number from 1 to 10000",
           "Calls of one caller that may run at the same time; the next one is told to try again.", "http"),
    Option("max_callers", "REFLEXIO_MCP_MAX_CALLERS", _number(int, 1, 10_000), "a whole number from 1 to 10000",
           "Callers whose connections to Reflexio are kept open.", "http"),
    Option("max_sessions", "REFLEXIO_MCP_MAX_SESSIONS", _number(int, 1, 100_000), "a whole number from 1 to 100000",
           "Sessions at /mcp, and streams at /sse, that may be open at the same time.", "http"),
    Option("session_idle", "REFLEXIO_MCP_SESSION_IDLE", _number(float, 1, 604_800), "seconds from 1 to 604800",
           "Seconds without a request after which a session at /mcp is closed.", "http"),
    Option("slow_client", "REFLEXIO_MCP_SLOW_CLIENT", _number(float, 0.1, 600), "seconds from 0.1 to 600",
           "Seconds that a client may take to send the head of a request, and again its body.", "http"),
    Option("stop_timeout", "REFLEXIO_MCP_STOP_TIMEOUT", _number(float, 0.1, 600), "seconds from 0.1 to 600",
           "Seconds that calls may go on after SIGTERM; then they are told to try again.", "http"),
)  # fmt: skip


_KNOWN: Final = {option.env: option for option in OPTIONS}
_PREFIX: Final = "REFLEXIO_MCP_"
LIMITS: Final = frozenset({
    "user_id", "read_only", "tools", "confirm", "confirm_above", "delete_cap", "mask", "publish_secrets", "audit_log",
    "recovery_days", "recovery_dir", "auth_token", "allowed_hosts", "allowed_origins", "tenancy", "max_in_flight",
    "max_callers", "max_sessions", "session_idle", "slow_client", "state",
})  # fmt: skip
"""What limits or protects: under a name that nothing reads, it would limit nothing."""

_OTHERS: Final = {
    "REFLEXIO_AGENT_VERSION",
    "REFLEXIO_ALLOWED_ORIGINS",
    "REFLEXIO_DIR",
    "REFLEXIO_LOG_LEVEL",
    "REFLEXIO_STORAGE",
}
"""Variables of Reflexio's own server and client that look like ours."""


_REFERENCE: Final = re.compile(
    r"\$\{\{[^{}]+\}\}|\$\{[^{}]+\}|\{env:\w+\}|\$[A-Z_][A-Z0-9_]*|%[A-Z_][A-Z0-9_]*%"
)


def is_reference(text: str) -> bool:
    """Whether a value is only the name of one, in a form that clients fill in and this one did not."""
    return bool(_REFERENCE.fullmatch(text.strip()))


def load(env: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None) -> Settings:
    """Read the configuration.

    A variable that is empty counts as not set, because clients write `${VAR}` and expand it to nothing, and the bundle
    and the compose file pass on what a person left empty. An empty key alone therefore means the embedded store, so
    the entries that `install` writes for an account name its address. A value of blanks alone, an empty flag, a
    reference that was not filled in and an unknown `REFLEXIO_MCP_` variable are refused: each was meant to limit
    something, and would limit nothing.

    Args:
        env: the environment (`os.environ` when `None`).
        flags: option name to text, as the command line gave it; takes precedence over the environment.

    Returns:
        The settings.

    Raises:
        ConfigurationError: one or two sentences that name the flag and the variable, and what is accepted.
    """
    from reflexio_mcp.rest.api_limits import is_blank

    env = os.environ if env is None else env
    flags = flags or {}
    for name in env:
        if _is_like_ours(name) and name not in _KNOWN and stops(name, meant := nearest(name)):
            if not env[name] and not name.upper().startswith(_PREFIX):
                continue  # a client expanded a variable of another program to nothing
            raise ConfigurationError(
                f"{_readable(name)} is not a variable of this server and would have no effect. "
                + (f"Did you mean {meant}?" if meant else "Remove it.")
            )
    values: dict[str, Any] = {}
    for option in OPTIONS:
        text = flags.get(option.name, env.get(option.env) or None)
        if text is None:
            continue
        if is_blank(text):
            raise ConfigurationError(
                f"{_name(option)} is blank. It takes {option.accepts}; leave it out for the default."
            )
        if is_reference(text):
            raise ConfigurationError(
                f"{_name(option)} holds a reference, such as ${{env:NAME}}, in place of a value: the client passed it "
                "on as it stands. Set the variable where the client is started, or write the value itself."
            )
        try:
            values[option.name] = option.parse(text)
        except ValueError:
            raise ConfigurationError(_refusal(option, text)) from None
    settings = Settings(**values)
    _check_state(settings)
    return settings


def _check_state(settings: Settings) -> None:
    if not settings.state:
        return
    if not settings.state_keys:
        raise ConfigurationError(
            "REFLEXIO_MCP_STATE needs REFLEXIO_MCP_STATE_KEYS: recovery copies in the database are sealed with them."
        )
    for option in OPTIONS:
        if option.name in ("audit_log", "recovery_dir") and getattr(settings, option.name):
            raise ConfigurationError(
                f"{_name(option)} names a file, and with REFLEXIO_MCP_STATE all of this is in the database. "
                "Leave it out."
            )


def stops(name: str, meant: str) -> bool:
    """Whether the server does not start because of a variable that it does not know.

    Args:
        name: the variable, none of ours.
        meant: the one that was probably meant, or empty.
    """
    if name in _OTHERS:
        return False
    return name.strip().upper().startswith(_PREFIX) or (meant in _KNOWN and _KNOWN[meant].name in LIMITS)


def nearest(variable: str) -> str:
    """The variable of ours that a misspelt name was probably meant to be; empty when none is near."""
    import difflib  # only mistakes need it

    bare = {name.replace("_MCP", ""): name for name in _KNOWN}
    name = variable.strip().upper().replace("-", "_").replace("_MCP", "")
    found = difflib.get_close_matches(name, bare, n=1, cutoff=0.8)
    if not found:
        return ""
    # The prefix that all share must not make up for the rest.
    one, other = (text.removeprefix("REFLEXIO").strip("_") for text in (name, found[0]))
    return bare[found[0]] if difflib.SequenceMatcher(None, one, other).ratio() >= 0.5 else ""


def _is_like_ours(name: str) -> bool:
    """Whether to compare a variable with ours: to compare all of an environment takes long."""
    # One slip leaves one half of REFLEXIO whole.
    upper = name.upper()
    return "REF" in upper or "XIO" in upper or "_MCP_" in upper


def unread(env: Mapping[str, str]) -> dict[str, str]:
    """Variables that look like ours and that nothing reads, each with the one that was probably meant.

    The second is empty for a `REFLEXIO_MCP_` variable that is near none. `stops` tells which of them `load` refuses.
    """
    like_ours = filter(_is_like_ours, sorted(env))
    found = {name: nearest(name) for name in like_ours if name not in _KNOWN and name not in _OTHERS}
    return {name: meant for name, meant in found.items() if meant or stops(name, meant)}


def add_flags(parser: "argparse.ArgumentParser", options: Iterable[Option]) -> None:
    """Give a parser the flags of some options, each group of them under its own heading."""
    import argparse

    sections: dict[str, Any] = {}
    for option in options:
        if not option.flag:
            continue
        if option.group not in sections:
            sections[option.group] = parser.add_argument_group(GROUPS[option.group])
        about = f"{option.help} [{option.env}]".replace("%", "%%")
        given: dict[str, Any] = {"dest": option.name, "default": argparse.SUPPRESS, "help": about}
        given |= (
            {"action": "store_const", "const": "0" if option.is_on else "1"}
            if option.is_switch
            else {"metavar": option.name.upper()}
        )
        sections[option.group].add_argument(option.flag, **given)


def parse_flags(arguments: Sequence[str]) -> dict[str, str]:
    """The options among the arguments of a command, as option name to text; anything else is left out."""
    import argparse

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    add_flags(parser, OPTIONS)
    try:
        return vars(parser.parse_known_args(list(arguments))[0])
    except (argparse.ArgumentError, SystemExit):
        return {}


def _readable(name: str) -> str:
    """The name of a variable, as far as it is one: anything may stand there."""
    return name if re.fullmatch(r"[\w-]{1,60}", name, re.ASCII) else f"The variable {name[:60]!a}"


def _name(option: Option) -> str:
    return f"{option.flag} / {option.env}" if option.flag else option.env


def _refusal(option: Option, text: str) -> str:
    meant = did_you_mean(text.strip().lower(), [word.lower() for word in option.choices])
    return f"{_name(option)} takes {option.accepts}{meant or '.'}"


def did_you_mean(typed: str, known: Iterable[str]) -> str:
    """The end of a sentence about a mistyped word, with the known word nearest to it; empty when none is near."""
    import difflib  # only mistakes need it

    near = difflib.get_close_matches(typed, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
