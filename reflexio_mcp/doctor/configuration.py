"""The configuration: whether it can be read, where each value comes from, and what was probably meant."""

import re
from typing import Final

from reflexio_mcp.doctor.environment import Environment
from reflexio_mcp.doctor.report import Finding, Value, failure, note, ok, warning
from reflexio_mcp.settings import (
    OPTIONS,
    ConfigurationError,
    Option,
    is_reference,
    load,
    unread,
)
from reflexio_mcp.traffic.rules.secret_heuristics import keys_in

__all__ = ["check_configuration", "check_key"]

_LIMITS: Final = ("user_id", "read_only", "tools", "confirm", "delete_cap", "mask")

_EXAMPLE_KEYS: Final = {"your-api-key", "your_api_key", "changeme", "xxx"}


async def check_configuration(environment: Environment) -> list[Finding]:
    """Read it, and name what is wrong, misspelt or was never filled in."""
    from reflexio_mcp.tools.catalog import offered

    found: list[Finding] = []
    for option in OPTIONS:
        flag = environment.flags.get(option.name)
        text = flag if flag is not None else environment.env.get(option.env, "")
        if not text and flag is None and option.env in environment.env and option.name in _LIMITS:
            found.append(warning("limit-is-empty", f"{option.env} is empty"))
        if not text.strip():
            continue
        source = option.flag if flag is not None else option.env
        environment.report.values.append(Value(option.name, _shown(option, text), source))
        if is_reference(text):
            do = f"Set {option.env} where the client is started, or write the value itself."
            said = f"{option.env} is the text {text.strip()}"
            found.append(failure("placeholder-not-expanded", said, do=do))
    found += _unread_variables(environment)
    if any(one.status == "failure" for one in found):
        return found
    try:
        environment.settings = load(environment.env, environment.flags)
        offered(environment.settings)
    except ConfigurationError as error:
        return [failure("configuration-invalid", str(error))]
    who = (
        f"confined to the user {environment.settings.user_id}"
        if environment.settings.user_id
        else "who signs in sees their own memory, operators everybody's"
        if environment.settings.oauth_issuer
        else "every user is visible"
    )
    return found or [
        ok(f"commands in this shell use {environment.settings.base_url or 'the embedded store'}; {who}")
    ]


def _shown(option: Option, text: str) -> str:
    """A value as it may be shown: one that is refused may be a key in the wrong place."""
    if option.secret:
        return "(set)"
    if is_reference(text):
        return text.strip()
    if option.name == "tools":
        from reflexio_mcp.tools.catalog import CATALOG

        if not {spec.name for spec in CATALOG}.issuperset(re.split(r"[,\s]+", text.strip(", \t"))):
            return "(refused, not shown)"
    if keys_in(text):
        return "(looks like a key, not shown)"
    return option.shown(text) or "(refused, not shown)"


def _unread_variables(environment: Environment) -> list[Finding]:
    """The variables that were meant for this server and have no effect, which `load` refuses."""
    return [
        failure(
            "unknown-variable",
            f"{name} is set, and nothing reads it",
            why=f"{meant} was probably meant, and has no effect like this." if meant else "",
            do=f"Name it {meant}, or remove it." if meant else "",
        )
        for name, meant in unread(environment.env).items()
    ]


async def check_key(environment: Environment) -> list[Finding]:
    """The key, as far as it can be judged without sending it."""
    from reflexio_mcp.rest.address import check_api_key
    from reflexio_mcp.rest.errors import BadAddress

    key, url = environment.settings.api_key, environment.settings.base_url
    if not key:
        if url.startswith("https://www.reflexio.ai"):
            return [failure("key-missing", "REFLEXIO_API_KEY is not set, and the hosted service needs it")]
        return [note("no key is set; the open-source server needs none")]
    if key.lower() in _EXAMPLE_KEYS:
        return [failure("key-is-an-example", "REFLEXIO_API_KEY is the text of an example")]
    try:
        check_api_key(key)
        damaged = key[0] in "\"'" or key.lower().startswith("bearer")
    except BadAddress:
        damaged = True
    if damaged:
        return [failure("key-malformed", "REFLEXIO_API_KEY holds blanks, quotes or the word Bearer")]
    if url.startswith("http://") and not _is_local(url):
        return [warning("key-sent-in-clear", "the key goes over plain http to another machine")]
    return [ok("a key is set")]


def _is_local(url: str) -> bool:
    host = re.sub(r"^https?://", "", url).split("/")[0]
    return bool(re.match(r"(localhost|127\.[\d.]+|\[::1\])(:\d+)?$", host))
